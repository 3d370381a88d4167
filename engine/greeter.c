/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The greeter process: looks at the first bytes of connections to the host's shared ports and says which guest they are
 * for. It takes nothing out of them (MSG_PEEK). Whoever sends those bytes is a stranger: the process has nothing but the
 * connections that are not known yet, and can do nothing but look and answer (engine/sandbox.c). One thread, one table.
 */
#include "engine/greeter-link.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/link.h"
#include "engine/sandbox.h"

#define EVENTS_PER_CALL 64
#define LINK_SLOT	UINT32_MAX

/* One that comes in more pieces is sent on purpose so: each costs a look at all that is there. */
#define LOOKS_MAX 1024U

struct visitor {
	int fd; /* -1: free */
	uint32_t id;
	unsigned int looks;
};

struct greeter {
	struct conn *link;
	int epoll_fd;
	struct visitor visitors[GREETER_CONNECTIONS_MAX];
	uint8_t bytes[GREETING_PEEK_MAX];
};

static int watch(struct greeter *g, int fd, uint32_t slot, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u32 = slot };

	return epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* The last word about a connection. The daemon may be behind: it is waited for. */
static int answer(struct greeter *g, struct visitor *v, struct greeter_says *s)
{
	int r;

	s->id = v->id;
	/* The daemon has the socket too, so that closing it here does not end that. */
	(void)epoll_ctl(g->epoll_fd, EPOLL_CTL_DEL, v->fd, NULL);
	v->fd = close_fd(v->fd);
	while ((r = greeter_send_says(g->link, s)) == -EAGAIN)
		(void)fd_wait(conn_fd(g->link), POLLOUT, -1, DEADLINE_NONE);
	return r;
}

/* What is there so far. 0: more is needed, or it was answered. */
static int look(struct greeter *g, struct visitor *v, bool ended)
{
	struct greeter_says s = { .verdict = GREETER_CLOSED };
	ssize_t n = recv(v->fd, g->bytes, sizeof(g->bytes), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR) && !ended)
		return 0;
	if (n > 0)
		s.verdict = (uint8_t)greeting_read(g->bytes, (size_t)n, &s.greeting);
	if (s.verdict == GREETING_MORE && ++v->looks > LOOKS_MAX)
		s.verdict = GREETING_TOO_LONG;
	if (s.verdict == GREETING_MORE && ended)
		s.verdict = GREETER_CLOSED;
	return s.verdict == GREETING_MORE ? 0 : answer(g, v, &s);
}

static struct visitor *find_free(struct greeter *g)
{
	for (size_t i = 0; i < GREETER_CONNECTIONS_MAX; i++)
		if (g->visitors[i].fd < 0)
			return &g->visitors[i];
	return NULL;
}

/* Edge-triggered: bytes that stay where they are must not wake us twice. */
static int welcome(struct greeter *g, uint32_t id, int fd)
{
	struct visitor *v = find_free(g);
	int r;

	if (!v) {
		close_fd(fd);
		return -EUSERS;
	}
	*v = (struct visitor){ .fd = fd, .id = id };
	r = look(g, v, false);
	if (r < 0 || v->fd < 0)
		return r;
	return watch(g, fd, (uint32_t)(v - g->visitors), EPOLLIN | EPOLLRDHUP | EPOLLET);
}

static int serve_link(struct greeter *g, struct merr *err)
{
	struct conn_msg m;
	uint32_t id;
	int fd, r;

	while ((r = conn_recv(g->link, &m, err)) > 0) {
		r = greeter_read_look(&m, &id, &fd, err);
		conn_msg_done(&m);
		if (r == 0)
			r = welcome(g, id, fd);
		if (r < 0)
			return r;
	}
	return r;
}

static int serve(struct greeter *g, struct merr *err)
{
	struct epoll_event events[EVENTS_PER_CALL];
	struct visitor *v;
	int n, r = 0;

	while (r == 0) {
		n = epoll_wait(g->epoll_fd, events, EVENTS_PER_CALL, -1);
		for (int i = 0; r == 0 && i < n; i++) {
			if (events[i].data.u32 == LINK_SLOT) {
				r = serve_link(g, err);
				continue;
			}
			v = &g->visitors[events[i].data.u32];
			r = look(g, v, events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
		}
	}
	return r;
}

static int greeter_init(struct greeter *g, struct merr *err)
{
	g->link = conn_new(LINK_FD);
	g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (size_t i = 0; i < GREETER_CONNECTIONS_MAX; i++)
		g->visitors[i].fd = -1;
	if (!g->link || g->epoll_fd < 0 || watch(g, conn_fd(g->link), LINK_SLOT, EPOLLIN) < 0)
		return merr_set(err, -ENOMEM, "out of memory or descriptors");
	return sandbox_enter(SANDBOX_GREETER, err);
}

int greeter_main(void)
{
	static struct greeter g;
	struct merr err = MERR_INIT;
	int r;

	log_init_child(GREETER_ARGV0);
	(void)signal(SIGPIPE, SIG_IGN);
	r = greeter_init(&g, &err);
	if (r == 0)
		r = serve(&g, &err);
	if (r == -ENOTCONN || r == -EPIPE)
		return EXIT_SUCCESS; /* the daemon is gone, and starts another one with itself */
	log_err("ending: %s", merr_is_set(&err) ? merr_msg(&err) : strerror(-r));
	return EXIT_FAILURE;
}
