/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's own listening sockets. */
#include "daemon/listen.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Many clients may connect in the same moment; the sysctl net.core.somaxconn may allow fewer. */
#define BACKLOG 2048

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
	case -EPERM:
		return "; migd must be root, or a member of its socket-group";
	default:
		return "";
	}
}

int listen_remove_stale(const char *path, int type)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, strlen(path));
	return remove_stale(&sun, type);
}

static int find_group(const char *group, gid_t *ret, struct merr *err)
{
	const struct group *gr = group[0] ? getgrnam(group) : NULL;
	char *end;

	*ret = gr ? gr->gr_gid : (gid_t)-1;
	if (gr || !group[0])
		return 0;
	*ret = (gid_t)strtoul(group, &end, 10);
	return !*end ? 0 : merr_set(err, -EINVAL, "there is no group '%s' on this host (socket-group)", group);
}

/* Never, not even for an instant, open to others. */
static int bind_with(int fd, const struct sockaddr_un *sun, mode_t mode, gid_t gid)
{
	mode_t before = umask(0777 & ~mode);
	int r = bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0 ? -errno : 0;

	(void)umask(before);
	if (r == 0 && gid != (gid_t)-1 && lchown(sun->sun_path, (uid_t)-1, gid) < 0) {
		r = -errno;
		(void)unlink(sun->sun_path);
	}
	return r;
}

int listen_unix(const char *path, int type, const char *mode, const char *group, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	gid_t gid;
	int r;

	if (fd < 0)
		return merr_set_errno(err, -errno, "cannot make a socket");
	r = find_group(group, &gid, err);
	if (r < 0)
		return r;
	if (strlen(path) >= sizeof(sun.sun_path))
		return merr_set(
			err, -ENAMETOOLONG,
			"cannot listen on '%s': the path of a Unix socket can have %zu bytes", path,
			sizeof(sun.sun_path) - 1);
	memcpy(sun.sun_path, path, strlen(path));
	r = remove_stale(&sun, type);
	if (r == 0)
		r = bind_with(fd, &sun, (mode_t)strtoul(mode, NULL, 8), gid);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		return merr_set(err, r, "cannot listen on '%s': %s%s", path, strerror(-r),
				advice(r));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
