/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets for addresses: connecting, listening. */
#include "transport/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

/* One migration at a time: all its channels at once (255 at most), and the reconnects that follow a lost one. */
#define LISTEN_BACKLOG 256
#define TEXT_MAX       ADDR_FORMATTED_MAX

static int set_on(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof(on)) < 0 ? -errno : 0;
}

static int set_keep_alive(int fd, const struct addr *a)
{
	const struct {
		int option;
		uint32_t value;
	} details[] = {
		{ TCP_KEEPCNT, a->keep_alive_count },
		{ TCP_KEEPIDLE, a->keep_alive_idle },
		{ TCP_KEEPINTVL, a->keep_alive_interval },
	};

	if (!a->keep_alive)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(details); i++)
		if (details[i].value && setsockopt(fd, IPPROTO_TCP, details[i].option,
						   &details[i].value, sizeof(uint32_t)) < 0)
			return -errno;
	return set_on(fd, SOL_SOCKET, SO_KEEPALIVE);
}

/* What a kernel that lacks something should have. */
static const char *socket_advice(const struct addr *a, int error)
{
	if (a->type == ADDR_VSOCK && error == -EAFNOSUPPORT)
		return "; this kernel has no vsock: load the module vsock, or use another transport";
	if (a->mptcp && (error == -EPROTONOSUPPORT || error == -ENOPROTOOPT))
		return "; this kernel has no Multipath TCP, or net.mptcp.enabled is 0: leave 'mptcp' out";
	return "";
}

/*
 * What waits in a socket to be sent is still in the cache when it is, and what is urgent does not wait behind megabytes: of a
 * connection's data, what is on its way apart, the kernel takes no more. Measured over loopback: a seventh more under TLS and
 * a twentieth more over two channels than with its own choice; more or less than this gains less.
 */
#define NOT_SENT_BYTES (128 * 1024)

static int set_up_tcp(int fd, const struct addr *a)
{
	const int not_sent = NOT_SENT_BYTES;
	int r = set_on(fd, IPPROTO_TCP, TCP_NODELAY);

	/* Not all kinds of TCP know it (Multipath TCP): they go on without. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &not_sent, sizeof(not_sent));

	return r < 0 ? r : set_keep_alive(fd, a);
}

static int new_socket(const struct addr *a, int family, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->mptcp ? IPPROTO_MPTCP : 0);
	int r = fd < 0 ? -errno : 0;

	if (r < 0)
		return merr_set(err, r, "%s%s", strerror(-r), socket_advice(a, r));
	if (a->type == ADDR_TCP)
		r = set_up_tcp(fd, a);
	if (r < 0)
		return merr_set_errno(err, r, "socket options");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- connecting ---- */

static const char *connect_advice(const struct addr *a, int error)
{
	if (a->type == ADDR_VSOCK && (error == -ENODEV || error == -EOPNOTSUPP))
		return "; no vsock device reaches that CID: a host needs vhost_vsock, a guest its own vsock device (its host "
		       "is CID 2), CID 1 vsock_loopback";
	/* Which of the two depends on the kernel. */
	if (a->type == ADDR_VSOCK && (error == -ECONNRESET || error == -EPROTO))
		return "; nobody listens at that port";
	return "";
}

static int connect_failed(const struct addr *a, int error, struct merr *err)
{
	return merr_set(err, error, "%s%s", strerror(-error), connect_advice(a, error));
}

int sock_connect(const struct addr *a, const struct sock_target *t, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = -1;
	int r = new_socket(a, t->family, &fd, err);

	if (r == 0 && a->type == ADDR_TCP)
		r = source_bind(fd, &a->source, err);
	if (r < 0)
		return r;
	/*
	 * EAGAIN on a Unix socket: the backlog is full. That is a failure, nothing becomes writable
	 * later.
	 */
	if (connect(fd, (const struct sockaddr *)&t->sa, t->len) < 0 && errno != EINPROGRESS)
		return connect_failed(a, -errno, err);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int sock_connect_result(const struct addr *a, int fd, struct merr *err)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return connect_failed(a, -errno, err);
	if (error)
		return connect_failed(a, -error, err);
	len = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return connect_failed(a, errno == ENOTCONN ? -EINPROGRESS : -errno, err);
	return 0;
}

/* ---- listening ---- */

/*
 * Remove the socket at PATH unless somebody answers on it. Anything that is no socket is left, for
 * bind to refuse.
 */
static int unlink_stale_socket(const struct addr *a, const struct sock_target *t)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (a->abstract)
		return 0; /* it goes with its listener */
	if (lstat(a->path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&t->sa, t->len) == 0 || errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(a->path) < 0 && errno != ENOENT ? -errno : 0;
}

void sock_remove(const struct addr *a)
{
	struct stat st;

	if (a->type == ADDR_UNIX && !a->abstract && lstat(a->path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(a->path);
}

static void set_port(struct sock_target *t, unsigned int port)
{
	if (t->family == AF_INET)
		((struct sockaddr_in *)(void *)&t->sa)->sin_port = htons((uint16_t)port);
	else
		((struct sockaddr_in6 *)(void *)&t->sa)->sin6_port = htons((uint16_t)port);
}

static unsigned int get_port(const struct sockaddr_storage *sa)
{
	if (sa->ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
	return ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port);
}

/* The any-address of IPv6 takes IPv4 as well, unless only IPv6 was asked for. */
static int prepare_tcp(int fd, const struct addr *a, const struct sock_target *t)
{
	int on = a->ipv6 && !a->ipv4, r = set_on(fd, SOL_SOCKET, SO_REUSEADDR);

	if (r == 0 && t->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		r = -errno;
	return r;
}

/* ERR only says what its code alone would not. */
static int listen_at(const struct addr *a, const struct sock_target *t, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = -1;
	int r = new_socket(a, t->family, &fd, err);

	if (r == 0 && a->type == ADDR_UNIX)
		r = unlink_stale_socket(a, t);
	else if (r == 0 && a->type == ADDR_TCP)
		r = prepare_tcp(fd, a, t);
	if (r < 0)
		return r;
	if (bind(fd, (const struct sockaddr *)&t->sa, t->len) < 0)
		return -errno;
	if (listen(fd, LISTEN_BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int listen_in_range(const struct addr *a, const struct sock_target *t, int *ret_fd, struct merr *err)
{
	struct sock_target at = *t;
	unsigned int port;
	int r;

	if (a->type != ADDR_TCP || !a->to)
		return listen_at(a, t, ret_fd, err);
	for (port = get_port(&t->sa); port <= a->to; port++) {
		set_port(&at, port);
		r = listen_at(a, &at, ret_fd, err);
		if (r != -EADDRINUSE)
			return r;
	}
	return -EADDRINUSE;
}

static const char *in_use_advice(const struct addr *a)
{
	if (a->type == ADDR_UNIX)
		return a->abstract ? "; somebody listens there: choose another name"
				   : "; somebody listens there: choose another path";
	if (a->type == ADDR_VSOCK)
		return "; choose another port, or port 4294967295 for any free one";
	return "; choose another port, a range with to=PORT, or port 0 for any free one";
}

static const char *listen_advice(const struct addr *a, int error)
{
	switch (error) {
	case -EADDRINUSE:
		return in_use_advice(a);
	case -EADDRNOTAVAIL:
		return a->type == ADDR_VSOCK ? "; this host has another CID: CID 4294967295 is any"
					     : "; no interface of this host has that address";
	case -EACCES:
	case -EPERM:
		return a->type == ADDR_UNIX
			       ? "; check the permissions of the directory"
			       : "; ports below 1024 need privileges: choose a higher one";
	case -EEXIST:
		return "; a file that is no socket is there: remove it, or choose another path";
	case -ENOENT:
	case -ENOTDIR:
		return "; the directory must exist";
	default:
		return "";
	}
}

int sock_listen(const struct addr *a, const struct sock_target *targets, size_t n, int *ret_fd,
		struct merr *err)
{
	struct merr why = MERR_INIT;
	char text[TEXT_MAX];
	int r = -EADDRNOTAVAIL;

	for (size_t i = 0; i < n; i++) {
		merr_clear(&why);
		r = listen_in_range(a, &targets[i], ret_fd, &why);
		if (r == 0)
			return 0;
	}
	(void)merr_set(&why, r, "%s%s", strerror(-r), listen_advice(a, r));
	return merr_set(err, r, "Failed to listen on '%s': %s", addr_endpoint(a, text, sizeof(text)),
			merr_msg(&why));
}
