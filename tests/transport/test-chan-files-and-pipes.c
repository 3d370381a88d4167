/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels over files and pipes: what is written in any pieces arrives, a file has no head before
 * it is committed, and a full disk is an error.
 */
/* LIBS: migd_transport migd_base */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "transport/chan.h"

#define TEXT "QEVM\0\0\0\3and the rest of a stream"
#define LEN  (sizeof(TEXT) - 1)
static const uint8_t zeros[CHAN_HEAD_LEN];

static int write_in_pieces(struct chan *c, const char *text, size_t len, size_t piece)
{
	int r = 0;

	for (size_t at = 0; at < len && r == 0; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		struct iovec iov[2] = {
			{ .iov_base = (char *)(uintptr_t)text + at, .iov_len = n / 2 },
			{ .iov_base = (char *)(uintptr_t)text + at + n / 2, .iov_len = n - n / 2 }
		};

		r = chan_write(c, iov, 2, true, DEADLINE_NONE);
	}
	return r;
}

static void test_file_gets_its_head_last(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= LEN; piece++) {
		int fd = memfd_create("file", MFD_CLOEXEC);
		struct chan *c;
		char got[5 + LEN];

		assert_int_equal(pwrite(fd, "XXXXXyyyyyyyy", 13, 0), 13);
		assert_int_equal(lseek(fd, 5, SEEK_SET), 5);
		c = chan_new(dup(fd), -1);
		assert_non_null(c);
		assert_int_equal(write_in_pieces(c, TEXT, LEN, piece), 0);
		assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
		assert_memory_equal(got, "XXXXX", 5);
		assert_memory_equal(got + 5, zeros, CHAN_HEAD_LEN);
		assert_int_equal(chan_commit(c), 0);
		assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
		assert_memory_equal(got, "XXXXX", 5);
		assert_memory_equal(got + 5, TEXT, LEN);
		chan_free(c);
		close(fd);
	}
}

static void test_file_is_read(void **state)
{
	int fd = memfd_create("file", MFD_CLOEXEC), to = memfd_create("to", MFD_CLOEXEC);
	struct chan *c;
	char got[LEN];
	uint64_t done;

	(void)state;
	assert_int_equal(pwrite(fd, TEXT, LEN, 3), LEN);
	assert_int_equal(lseek(fd, 3, SEEK_SET), 3);
	c = chan_new(fd, -1);
	assert_int_equal(chan_read(c, got, 4, DEADLINE_NONE), 4);
	assert_memory_equal(got, "QEVM", 4);
	assert_int_equal(chan_read_to_file(c, to, 1, 10, DEADLINE_NONE, &done), 0);
	assert_int_equal(done, 10);
	assert_int_equal(pread(to, got, 10, 1), 10);
	assert_memory_equal(got, &TEXT[4], 10);
	assert_int_equal(chan_read(c, got, sizeof(got), DEADLINE_NONE), LEN - 14);
	assert_int_equal(chan_read(c, got, sizeof(got), DEADLINE_NONE), 0);
	assert_int_equal(chan_read_to_file(c, to, 0, 1, DEADLINE_NONE, &done), -ENODATA);
	assert_int_equal(done, 0);
	chan_free(c);
	close(to);
}

static void test_pipe_ends_when_committed(void **state)
{
	struct chan *from, *to;
	char got[2 * LEN];
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	from = chan_new(fds[0], -1);
	to = chan_new(fds[1], -1);
	assert_int_equal(write_in_pieces(to, TEXT, LEN, 7), 0);
	assert_int_equal(chan_read(from, got, sizeof(got), DEADLINE_NONE), LEN);
	assert_memory_equal(got, TEXT, LEN);
	assert_int_equal(chan_read(from, got, sizeof(got), clock_now_ns() + NS_PER_MS), -ETIMEDOUT);
	assert_int_equal(chan_commit(to), 0);
	assert_int_equal(chan_read(from, got, sizeof(got), DEADLINE_NONE), 0);
	chan_free(to);
	chan_free(from);
}

static void test_full_disk_is_an_error(void **state)
{
	struct iovec iov = { .iov_base = (char *)(uintptr_t)TEXT, .iov_len = LEN };
	struct chan *c = chan_new(open("/dev/full", O_WRONLY | O_CLOEXEC), -1);
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_non_null(c);
	assert_int_equal(chan_write(c, &iov, 1, false, DEADLINE_NONE), -ENOSPC);
	chan_free(c);
	assert_int_equal(ftruncate(fd, 20), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	c = chan_new(fd, -1);
	iov = (struct iovec){ .iov_base = (char *)(uintptr_t)TEXT, .iov_len = LEN };
	assert_true(chan_write(c, &iov, 1, false, DEADLINE_NONE) < 0);
	chan_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_gets_its_head_last),
		cmocka_unit_test(test_file_is_read),
		cmocka_unit_test(test_pipe_ends_when_committed),
		cmocka_unit_test(test_full_disk_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
