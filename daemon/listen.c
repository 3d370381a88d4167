/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's own listening sockets. */
#include "daemon/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BACKLOG     64
#define SOCKET_MODE 0660

static int remove_stale(const struct sockaddr_un *sun, int type)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(sun->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(sun->sun_path) < 0 ? -errno : 0;
}

static const char *advice(int error)
{
	switch (error) {
	case -EADDRINUSE:
		return "; another process listens there: stop it, or choose another path";
	case -EEXIST:
		return "; a file that is no socket is there: remove it, or choose another path";
	case -ENOENT:
		return "; its directory must exist";
	case -EACCES:
		return "; its directory must be writable";
	default:
		return "";
	}
}

int listen_unix(const char *path, int type, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	mode_t before;
	int r;

	if (fd < 0)
		return merr_set_errno(err, -errno, "cannot make a socket");
	if (strlen(path) >= sizeof(sun.sun_path))
		return merr_set(
			err, -ENAMETOOLONG,
			"cannot listen on '%s': the path of a Unix socket can have %zu bytes", path,
			sizeof(sun.sun_path) - 1);
	memcpy(sun.sun_path, path, strlen(path));
	r = remove_stale(&sun, type);
	if (r == 0) {
		/* Never, not even for an instant, open to others. */
		before = umask(0777 & ~SOCKET_MODE);
		r = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
		(void)umask(before);
	}
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		return merr_set(err, r, "cannot listen on '%s': %s%s", path, strerror(-r),
				advice(r));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
