/* SPDX-License-Identifier: Apache-2.0 */
/* The library's AF_UNIX SOCK_SEQPACKET sockets. */
#include "guest/unix-socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

static int make_address(const char *path, struct sockaddr_un *ret, struct merr *err)
{
	if (strlen(path) >= sizeof(ret->sun_path))
		return merr_set(err, -EINVAL, "socket path '%s' is longer than %zu bytes", path,
				sizeof(ret->sun_path) - 1);
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, path, strlen(path) + 1);
	return 0;
}

int unix_connect(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr;

	if (fd < 0)
		return -errno;
	if (make_address(path, &addr, NULL) < 0)
		return -EINVAL;
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int unix_path_check(const char *path, struct merr *err)
{
	struct sockaddr_un addr;

	return make_address(path, &addr, err);
}

/* Remove a socket that nobody listens on any more. */
static void remove_stale(const char *path)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = unix_connect(path);
	if (fd == -ECONNREFUSED)
		(void)unlink(path);
}

int unix_listen(const char *path, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr;
	int r = make_address(path, &addr, err);

	if (r < 0)
		return r;
	remove_stale(path);
	/*
	 * On Linux bind() gives the socket file the descriptor's mode, less the umask: no moment
	 * with another one.
	 */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 4) < 0)
		return merr_set_errno(err, -errno, "cannot listen at '%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
