/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory's files: named, read and replaced as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/state-dir-internal.h"

bool state_dir_parse_name(const char *name, const char *suffix, char ret_id[STATE_DIR_ID_LEN])
{
	const size_t digits = STATE_DIR_ID_LEN - 1;

	if (strlen(name) != digits + strlen(suffix) || strspn(name, "0123456789abcdef") != digits ||
	    strcmp(name + digits, suffix) != 0)
		return false;
	memcpy(ret_id, name, digits);
	ret_id[digits] = '\0';
	return true;
}

static int write_temporary(int dir, const char *name, const char *text, bool durable)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));

	return r == 0 && durable && fsync(fd) < 0 ? -errno : r;
}

int state_dir_replace(int dir, const char *name, const char *temporary, const char *text, bool durable)
{
	int r = write_temporary(dir, temporary, text, durable);

	if (r == 0 && renameat(dir, temporary, dir, name) < 0)
		r = -errno;
	if (r == 0 && durable && fsync(dir) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir, temporary, 0);
	return r;
}

int state_dir_read_file(int dir, const char *name, size_t max, bool head, char **ret, size_t *ret_len, struct merr *err)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len;

	if (fd < 0 || fstat(fd, &st) < 0)
		return merr_set_errno(err, -errno, "cannot read '%s' in the state directory", name);
	if (!S_ISREG(st.st_mode) || (!head && (size_t)st.st_size > max))
		return merr_set(err, -EFBIG, "'%s' in the state directory is no file of this migd's", name);
	len = min_u64((uint64_t)st.st_size, max);
	text = malloc(len + 1);
	if (!text || fd_read_full(fd, text, len) < 0)
		return merr_set(err, -EIO, "cannot read '%s' in the state directory", name);
	text[len] = '\0';
	*ret = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}
