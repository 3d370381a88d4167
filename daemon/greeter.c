/* SPDX-License-Identifier: Apache-2.0 */
/* The greeter process: started, asked, started again. */
#include "daemon/greeter.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/timer.h"
#include "daemon/worker.h"

#define BACKOFF_FIRST_MS 100U
#define BACKOFF_MAX_MS	 5000U
/* One that lived so long did not die of its start. */
#define LIVED_NS (10 * NS_PER_SEC)

struct greeter {
	struct event_base *base;
	int exe_fd;
	const struct greeter_handler *handler;
	void *opaque;
	struct worker *process; /* NULL: none */
	struct event *pause;	/* before the next one is started */
	unsigned int backoff_ms;
	uint64_t started_ns;
};

static int on_message(void *opaque, struct conn_msg *m, struct merr *err)
{
	const struct greeter *g = opaque;
	struct greeter_says s;
	int r = greeter_read_says(m, &s, err);

	if (r == 0)
		g->handler->says(g->opaque, &s);
	return r;
}

static void on_pause_end(evutil_socket_t fd, short what, void *opaque)
{
	struct greeter *g = opaque;

	(void)fd;
	(void)what;
	g->pause = timer_free(g->pause);
}

static void back_off(struct greeter *g)
{
	bool lived = clock_now_ns() - g->started_ns > LIVED_NS;

	g->backoff_ms = lived || !g->backoff_ms ? BACKOFF_FIRST_MS : g->backoff_ms * 2;
	if (g->backoff_ms > BACKOFF_MAX_MS)
		g->backoff_ms = BACKOFF_MAX_MS;
	g->pause = timer_free(g->pause);
	g->pause = timer_start(g->base, g->backoff_ms, on_pause_end, g);
}

static void on_exit_of_it(void *opaque, const char *how)
{
	struct greeter *g = opaque;

	g->process = worker_free(g->process);
	back_off(g);
	log_err("%s: connections that it looked at are lost; the next one starts in %u ms", how, g->backoff_ms);
	g->handler->lost(g->opaque);
}

static const struct worker_handler process_handler = { on_message, on_exit_of_it };

/* 0: there is one. */
static int ensure(struct greeter *g)
{
	struct merr err = MERR_INIT;

	if (g->process)
		return worker_conn(g->process) ? 0 : -EAGAIN; /* its end is about to be noticed */
	if (g->pause)
		return -EAGAIN;
	g->started_ns = clock_now_ns();
	if (worker_spawn(g->base, g->exe_fd, GREETER_ARGV0, NULL, &process_handler, g, &g->process, &err) < 0) {
		log_err("%s", merr_msg(&err));
		back_off(g);
		return -EAGAIN;
	}
	log_debug("greeter started pid=%d", worker_pid(g->process));
	return 0;
}

struct greeter *greeter_new(struct event_base *base, int exe_fd, const struct greeter_handler *handler, void *opaque)
{
	struct greeter *g = calloc(1, sizeof(*g));

	if (g)
		*g = (struct greeter){ .base = base, .exe_fd = exe_fd, .handler = handler, .opaque = opaque };
	return g;
}

struct greeter *greeter_free(struct greeter *g)
{
	if (!g)
		return NULL;
	(void)timer_free(g->pause);
	g->process = worker_free(g->process);
	free(g);
	return NULL;
}

int greeter_look(struct greeter *g, uint32_t id, int fd)
{
	int r = ensure(g);

	if (r == 0)
		r = greeter_send_look(worker_conn(g->process), id, fd);
	/* Whatever it is, it may be better with the next one. */
	return r < 0 ? -EAGAIN : 0;
}

void greeter_give_up(struct greeter *g, const char *why)
{
	if (g->process)
		worker_kill(g->process, why);
}
