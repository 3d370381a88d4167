/* SPDX-License-Identifier: Apache-2.0 */
/* Last words. */
#include "daemon/farewell.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "daemon/timer.h"
#include "engine/greeter-link.h"

struct leaving {
	TAILQ_ENTRY(leaving) entry;
	struct farewells *all;
	int fd;
	struct event *readable;
	uint64_t until_ns;
};

struct farewells {
	struct event_base *base;
	TAILQ_HEAD(, leaving) leaving;
	unsigned int n;
};

static void leaving_free(struct leaving *l)
{
	TAILQ_REMOVE(&l->all->leaving, l, entry);
	l->all->n--;
	(void)timer_free(l->readable);
	close_fd(l->fd);
	free(l);
}

/* A little at a time, so that one that sends a lot does not hold up the loop. */
static void on_readable(evutil_socket_t fd, short what, void *opaque)
{
	struct leaving *l = opaque;
	char unseen[4096];
	ssize_t n = recv(fd, unseen, sizeof(unseen), MSG_DONTWAIT);

	if (what & EV_TIMEOUT || clock_now_ns() >= l->until_ns || n == 0 ||
	    (n < 0 && errno != EAGAIN && errno != EINTR))
		leaving_free(l);
}

static bool linger(struct farewells *fs, int fd)
{
	struct timeval patience = { .tv_sec = FAREWELL_MS / 1000 };
	struct leaving *l = fs->n < FAREWELLS_MAX ? calloc(1, sizeof(*l)) : NULL;

	if (!l)
		return false;
	*l = (struct leaving){ .all = fs, .fd = fd, .until_ns = clock_now_ns() + FAREWELL_MS * NS_PER_MS };
	TAILQ_INSERT_TAIL(&fs->leaving, l, entry);
	fs->n++;
	l->readable = event_new(fs->base, fd, EV_READ | EV_PERSIST, on_readable, l);
	if (!l->readable || event_add(l->readable, &patience) < 0)
		leaving_free(l);
	return true;
}

void farewell(struct farewells *fs, int fd, bool tls, bool reads, const char *text)
{
	uint8_t bytes[GREETER_REFUSAL_MAX];
	size_t len = greeter_refusal(tls, text, bytes);

	(void)send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (reads)
		(void)shutdown(fd, SHUT_WR);
	if (!reads || !linger(fs, fd))
		close_fd(fd);
}

struct farewells *farewells_new(struct event_base *base)
{
	struct farewells *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return NULL;
	fs->base = base;
	TAILQ_INIT(&fs->leaving);
	return fs;
}

struct farewells *farewells_free(struct farewells *fs)
{
	if (!fs)
		return NULL;
	while (!TAILQ_EMPTY(&fs->leaving))
		leaving_free(TAILQ_FIRST(&fs->leaving));
	free(fs);
	return NULL;
}
