/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets for addresses: resolving, connecting, listening. */
#include "transport/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

/* One migration at a time: its connections, and the reconnects that follow a lost one. */
#define LISTEN_BACKLOG 16
#define TEXT_MAX       ADDR_FORMATTED_MAX

static int set_on(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof(on)) < 0 ? -errno : 0;
}

static void cleanup_addrinfo(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

static int family_of(const struct addr *a)
{
	if (a->ipv4 == a->ipv6)
		return AF_UNSPEC;
	return a->ipv4 ? AF_INET : AF_INET6;
}

static void unix_target(const struct addr *a, struct sock_target *ret)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	memcpy(sun.sun_path, a->path, sizeof(sun.sun_path));
	memset(ret, 0, sizeof(*ret));
	memcpy(&ret->sa, &sun, sizeof(sun));
	ret->len = (socklen_t)sizeof(sun);
	ret->family = AF_UNIX;
}

/* Listening anywhere: IPv6's any-address comes first, for it takes IPv4 as well. */
static void put_ipv6_first(struct sock_target *targets, int n)
{
	struct sock_target first = targets[0];

	for (int i = 1; i < n; i++) {
		if (targets[i].family != AF_INET6)
			continue;
		targets[0] = targets[i];
		targets[i] = first;
		return;
	}
}

int sock_resolve(const struct addr *a, bool listen, struct sock_target targets[SOCK_TARGETS_MAX],
		 struct merr *err)
{
	struct addrinfo hints = { .ai_family = family_of(a), .ai_socktype = SOCK_STREAM };
	_cleanup_(cleanup_addrinfo) struct addrinfo *list = NULL;
	int n = 0, r;

	if (!addr_is_network(a))
		return merr_set(err, -EOPNOTSUPP,
				"only a tcp or unix address can be connected to again");
	if (a->type == ADDR_UNIX) {
		unix_target(a, &targets[0]);
		return 1;
	}
	hints.ai_flags = (listen ? AI_PASSIVE : AI_ADDRCONFIG) | (a->numeric ? AI_NUMERICHOST : 0);
	r = getaddrinfo(a->host[0] ? a->host : NULL, a->port, &hints, &list);
	/* Without any address but loopback's, AI_ADDRCONFIG hides even 127.0.0.1 and ::1. */
	if (r == EAI_NONAME || r == EAI_ADDRFAMILY || r == EAI_NODATA) {
		hints.ai_flags &= ~AI_ADDRCONFIG;
		r = getaddrinfo(a->host[0] ? a->host : NULL, a->port, &hints, &list);
	}
	if (r != 0)
		return merr_set(err, r == EAI_SYSTEM && errno ? -errno : -EHOSTUNREACH,
				"address resolution failed for '%s:%s': %s; check the name, or "
				"give a numeric address",
				a->host, a->port,
				r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
	for (struct addrinfo *i = list; i && n < SOCK_TARGETS_MAX; i = i->ai_next) {
		memset(&targets[n], 0, sizeof(targets[n]));
		memcpy(&targets[n].sa, i->ai_addr, i->ai_addrlen);
		targets[n].len = i->ai_addrlen;
		targets[n].family = i->ai_family;
		n++;
	}
	if (listen && !a->host[0])
		put_ipv6_first(targets, n);
	return n;
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

static int new_socket(const struct addr *a, int family)
{
	_cleanup_close_ int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (a->type == ADDR_TCP) {
		r = set_on(fd, IPPROTO_TCP, TCP_NODELAY);
		if (r == 0)
			r = set_keep_alive(fd, a);
	}
	return r < 0 ? r : TAKE_FD(fd);
}

int sock_connect(const struct addr *a, const struct sock_target *t, int *ret_fd)
{
	_cleanup_close_ int fd = new_socket(a, t->family);

	if (fd < 0)
		return fd;
	/*
	 * EAGAIN on a Unix socket: the backlog is full. That is a failure, nothing becomes writable
	 * later.
	 */
	if (connect(fd, (const struct sockaddr *)&t->sa, t->len) < 0 && errno != EINPROGRESS)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int sock_connect_result(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int);
	int error;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	if (error)
		return -error;
	len = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return errno == ENOTCONN ? -EINPROGRESS : -errno;
	return 0;
}

/*
 * Remove the socket at PATH unless somebody answers on it. Anything that is no socket is left, for
 * bind to refuse.
 */
static int unlink_stale_socket(const struct addr *a, const struct sock_target *t)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

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

static int listen_at(const struct addr *a, const struct sock_target *t, int *ret_fd)
{
	_cleanup_close_ int fd = new_socket(a, t->family);
	int r = 0, on;

	if (fd < 0)
		return fd;
	if (a->type == ADDR_UNIX) {
		r = unlink_stale_socket(a, t);
	} else {
		r = set_on(fd, SOL_SOCKET, SO_REUSEADDR);
		/* The any-address of IPv6 takes IPv4 as well, unless only IPv6 was asked for. */
		on = a->ipv6 && !a->ipv4;
		if (r == 0 && t->family == AF_INET6 &&
		    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
			r = -errno;
	}
	if (r < 0)
		return r;
	if (bind(fd, (const struct sockaddr *)&t->sa, t->len) < 0)
		return -errno;
	if (listen(fd, LISTEN_BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int listen_in_range(const struct addr *a, const struct sock_target *t, int *ret_fd)
{
	struct sock_target at = *t;
	unsigned int port;
	int r;

	if (a->type == ADDR_UNIX || !a->to)
		return listen_at(a, t, ret_fd);
	for (port = get_port(&t->sa); port <= a->to; port++) {
		set_port(&at, port);
		r = listen_at(a, &at, ret_fd);
		if (r != -EADDRINUSE)
			return r;
	}
	return -EADDRINUSE;
}

static const char *listen_advice(const struct addr *a, int error)
{
	switch (error) {
	case -EADDRINUSE:
		return a->type == ADDR_UNIX ? "; somebody listens there: choose another path"
					    : "; choose another port, a range with to=PORT, or "
					      "port 0 for any free one";
	case -EADDRNOTAVAIL:
		return "; no interface of this host has that address";
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

/* What the error texts quote: "HOST:PORT" or "PATH". */
static const char *endpoint_text(const struct addr *a, char *buf, size_t len)
{
	(void)addr_format(a, buf, len);
	return strchr(buf, ':') + 1;
}

int sock_listen(const struct addr *a, const struct sock_target *targets, size_t n, int *ret_fd,
		struct merr *err)
{
	char text[TEXT_MAX];
	int r = -EADDRNOTAVAIL;

	for (size_t i = 0; i < n; i++) {
		r = listen_in_range(a, &targets[i], ret_fd);
		if (r == 0)
			return 0;
	}
	return merr_set(err, r, "Failed to listen on '%s': %s%s",
			endpoint_text(a, text, sizeof(text)), strerror(-r), listen_advice(a, r));
}

static int numeric_names(const struct sockaddr_storage *sa, socklen_t len, char *host,
			 size_t host_len, char *port, size_t port_len)
{
	return getnameinfo((const struct sockaddr *)sa, len, host, (socklen_t)host_len, port,
			   (socklen_t)port_len, NI_NUMERICHOST | NI_NUMERICSERV) == 0
		       ? 0
		       : -EIO;
}

int sock_local_addr(int fd, struct addr *ret)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	struct addr a = { 0 };
	int r;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	if (sa.ss_family == AF_UNIX) {
		a.type = ADDR_UNIX;
		memcpy(a.path, ((struct sockaddr_un *)(void *)&sa)->sun_path, sizeof(a.path) - 1);
	} else if (sa.ss_family == AF_INET || sa.ss_family == AF_INET6) {
		a.type = ADDR_TCP;
		a.ipv4 = sa.ss_family == AF_INET;
		a.ipv6 = !a.ipv4;
		r = numeric_names(&sa, len, a.host, sizeof(a.host), a.port, sizeof(a.port));
		if (r < 0)
			return r;
	} else {
		return -EAFNOSUPPORT;
	}
	*ret = a;
	return 0;
}

const char *sock_peer_name(int fd, char *buf, size_t len)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t sa_len = sizeof(sa);
	char host[ADDR_HOST_MAX + 1], port[ADDR_PORT_MAX + 1];
	bool v6;

	if (getpeername(fd, (struct sockaddr *)&sa, &sa_len) < 0)
		(void)snprintf(buf, len, "unknown");
	else if (sa.ss_family == AF_UNIX)
		(void)snprintf(buf, len, "unix");
	else if (numeric_names(&sa, sa_len, host, sizeof(host), port, sizeof(port)) < 0)
		(void)snprintf(buf, len, "unknown");
	else {
		v6 = strchr(host, ':') != NULL;
		(void)snprintf(buf, len, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
	}
	return buf;
}
