/* SPDX-License-Identifier: Apache-2.0 */
/* The other host: is its name known, and does somebody listen there? Nothing is said to who does. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "ctl/doctor/doctor.h"

#define CONNECT_NS (5 * NS_PER_SEC)

static const char *advice_for(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return "nobody listens there: have a guest wait (migctl incoming), or open a shared port (migctl host-listen), on that host";
	case ETIMEDOUT:
		return "that host is down, or a firewall between drops what is sent to it: open the port";
	case EHOSTUNREACH:
	case ENETUNREACH:
		return "there is no way to that network: look at `ip route`, or a firewall that rejects";
	case EACCES:
	case EPERM:
		return "who runs migctl may not connect there, or a firewall of this host forbids it";
	case ENOENT:
		return "there is no such socket";
	default:
		return NULL;
	}
}

/* 0, or the errno that connecting ended with. */
static int try_connect(const struct sockaddr *address, socklen_t len)
{
	_cleanup_close_ int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(int);
	int error = 0;

	if (fd < 0)
		return errno;
	if (connect(fd, address, len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	if (fd_wait(fd, POLLOUT, -1, clock_now_ns() + CONNECT_NS) < 0)
		return ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return errno;
	return error;
}

/* Whether it could be reached there. */
static bool judge(struct doctor *d, const char *where, int error)
{
	if (!error)
		doctor_say(d, DOCTOR_OK, "peer", NULL, "%s can be reached", where);
	else
		doctor_say(d, DOCTOR_PROBLEM, "peer", advice_for(error), "%s cannot be reached: %s", where,
			   error == ETIMEDOUT ? "no answer in time" : strerror(error));
	return !error;
}

static void check_addresses(struct doctor *d, const struct addrinfo *list)
{
	char host[256], port[32], where[320];

	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
			continue;
		(void)snprintf(where, sizeof(where), a->ai_family == AF_INET6 ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
		/* As migd does it: the next one only if this one cannot be reached. */
		if (judge(d, where, try_connect(a->ai_addr, a->ai_addrlen)))
			return;
	}
}

/* HOST:PORT, with or without brackets, up to a comma. */
static bool split_host(const char *text, char *host, size_t host_len, char *port, size_t port_len)
{
	int len = (int)strcspn(text, ",");
	const char *colon = memrchr(text, ':', (size_t)len);
	bool brackets = *text == '[' && colon > text && colon[-1] == ']';

	if (!colon || len - (colon + 1 - text) <= 0)
		return false;
	(void)snprintf(host, host_len, "%.*s", (int)(colon - text) - 2 * brackets, text + brackets);
	(void)snprintf(port, port_len, "%.*s", len - (int)(colon + 1 - text), colon + 1);
	return true;
}

static void check_tcp(struct doctor *d, const char *text)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	char host[256], port[32];
	int r;

	if (!split_host(text, host, sizeof(host), port, sizeof(port))) {
		doctor_say(d, DOCTOR_PROBLEM, "peer", "write tcp:HOST:PORT", "'tcp:%s' is no address", text);
		return;
	}
	r = getaddrinfo(host[0] ? host : "localhost", port, &hints, &list);
	if (r != 0) {
		doctor_say(d, DOCTOR_PROBLEM, "peer", "check the name, /etc/hosts and /etc/resolv.conf, or give a numeric address",
			   "the name '%s' cannot be resolved: %s", host, gai_strerror(r));
		return;
	}
	check_addresses(d, list);
	freeaddrinfo(list);
}

static void check_unix(struct doctor *d, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char where[160];

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.*s", (int)strcspn(path, ","), path);
	(void)snprintf(where, sizeof(where), "unix:%s", address.sun_path);
	(void)judge(d, where, try_connect((const struct sockaddr *)&address, sizeof(address)));
}

void doctor_check_peer(struct doctor *d)
{
	const char *uri = ctl_value(d->ctl, CTL_OPT_PEER);

	if (!uri)
		return;
	if (strncmp(uri, "tcp:", 4) == 0)
		check_tcp(d, uri + 4);
	else if (strncmp(uri, "unix:", 5) == 0)
		check_unix(d, uri + 5);
	else
		doctor_say(d, DOCTOR_PROBLEM, "peer", "write tcp:HOST:PORT or unix:PATH", "'%s' is no address that can be tried", uri);
}
