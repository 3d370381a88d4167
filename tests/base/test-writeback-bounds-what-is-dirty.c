/* SPDX-License-Identifier: Apache-2.0 */
/* However much is written to a file, little of it is not on the disk yet; a descriptor that is no disk's does not matter. */
/* LIBS: migd_base */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/writeback.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

#define FILE_BYTES (96 * MIB)
#define PIECE_BYTES (1 * MIB)
/* One step that nothing was said of, one that is on its way, one that was just begun. */
#define BOUND_BYTES (24 * MIB)

/* Bytes that are not on the disk; -errno. */
static int64_t unwritten(int fd)
{
	uint64_t range[2] = { 0, FILE_BYTES }, found[5];

	return syscall(SYS_cachestat, fd, range, found, 0) < 0 ? -errno : (int64_t)(found[1] + found[2]) * 4096;
}

static int open_file(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);
	struct statfs fs;

	if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type != TMPFS_MAGIC && unwritten(fd) == 0)
		return fd;
	print_message("skipped: the build folder is on no disk, or this kernel has no cachestat()\n");
	skip();
	return -1;
}

static void little_is_dirty(void **state)
{
	int fd = open_file();
	uint8_t *piece = malloc(PIECE_BYTES);
	struct writeback w = { 0 };

	(void)state;
	memset(piece, 0x5a, PIECE_BYTES);
	for (uint64_t at = 0; at < FILE_BYTES; at += PIECE_BYTES) {
		assert_int_equal(fd_pwrite_full(fd, piece, PIECE_BYTES, at), 0);
		assert_int_equal(writeback_wrote(&w, fd, at, PIECE_BYTES), 0);
		assert_true(unwritten(fd) <= (int64_t)BOUND_BYTES);
	}
	free(piece);
	close(fd);
}

static void pipes_do_not_matter(void **state)
{
	struct writeback w = { 0 };
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	for (uint64_t at = 0; at < FILE_BYTES; at += PIECE_BYTES)
		assert_int_equal(writeback_wrote(&w, fds[1], at, PIECE_BYTES), 0);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_is_dirty),
		cmocka_unit_test(pipes_do_not_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
