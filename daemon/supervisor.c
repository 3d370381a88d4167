/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager is told. */
#include "daemon/supervisor.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/registry.h"
#include "daemon/timer.h"

#define USEC_PER_SEC 1000000ULL

/* The status line is for people: many changes at once are one. */
#define STATUS_DELAY_MS 200U
/* A start that goes on says so every second, and has that long again each time. */
#define STARTING_EVERY_NS  NS_PER_SEC
#define STARTING_MORE_USEC "30000000"

struct supervisor {
	struct daemon *daemon;
	struct event *watchdog;
	struct event *status;
	bool status_waits;
	uint64_t starting_told_ns;
};

struct totals {
	size_t guests, outgoing, incoming, in_doubt;
};

static struct totals count(const struct registry *r)
{
	struct totals t = { .guests = registry_n_attached(r) };
	const struct guest *g;

	TAILQ_FOREACH(g, &r->guests, entry) {
		if (!migration_running(g->migration))
			continue;
		if (g->migration->direction == WORKER_DIRECTION_OUTGOING)
			t.outgoing++;
		else
			t.incoming++;
		t.in_doubt += g->migration->in_doubt;
	}
	return t;
}

static void tell(struct supervisor *s, const char *before)
{
	struct totals t = count(s->daemon->registry);

	s->status_waits = false;
	(void)sd_notifyf(0, "%sSTATUS=%zu guests; migrations: %zu outgoing, %zu incoming, %zu in doubt", before, t.guests,
			 t.outgoing, t.incoming, t.in_doubt);
}

static void on_status(evutil_socket_t fd, short what, void *opaque)
{
	(void)fd;
	(void)what;
	tell(opaque, "");
}

static void on_watchdog(evutil_socket_t fd, short what, void *opaque)
{
	(void)fd;
	(void)what;
	(void)opaque;
	(void)sd_notify(0, "WATCHDOG=1");
}

struct supervisor *supervisor_new(struct daemon *d)
{
	const char *address = getenv("NOTIFY_SOCKET");
	struct supervisor *s = address && address[0] ? calloc(1, sizeof(*s)) : NULL;

	if (!s)
		return NULL;
	s->daemon = d;
	s->status = evtimer_new(d->base, on_status, s);
	s->watchdog = event_new(d->base, -1, EV_PERSIST, on_watchdog, s);
	/* Among those that come first, or many clients would look like a loop that hangs. */
	if (s->status && s->watchdog && event_priority_set(s->watchdog, 0) == 0)
		return s;
	return supervisor_free(s);
}

struct supervisor *supervisor_free(struct supervisor *s)
{
	if (!s)
		return NULL;
	(void)timer_free(s->status);
	(void)timer_free(s->watchdog);
	free(s);
	return NULL;
}

/* By the loop itself, twice an interval: it is alive if its timers are. */
static void feed_watchdog(struct supervisor *s)
{
	struct timeval every;
	uint64_t usec;

	if (sd_watchdog_enabled(0, &usec) <= 0 || event_pending(s->watchdog, EV_TIMEOUT, NULL))
		return;
	every.tv_sec = (time_t)(usec / 2 / USEC_PER_SEC);
	every.tv_usec = (suseconds_t)(usec / 2 % USEC_PER_SEC);
	if (event_add(s->watchdog, &every) < 0)
		log_err("cannot feed the service manager's watchdog: out of memory");
}

void supervisor_ready(struct supervisor *s)
{
	if (!s)
		return;
	tell(s, "READY=1\n");
	feed_watchdog(s);
}

void supervisor_reloading(struct supervisor *s)
{
	if (s)
		(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", clock_now_ns() / NS_PER_US);
}

void supervisor_stopping(struct supervisor *s)
{
	if (s)
		(void)sd_notify(0, "STOPPING=1\nSTATUS=ending; guests and running migrations go on");
}

void supervisor_still_starting(struct supervisor *s)
{
	uint64_t now = clock_now_ns();

	if (!s || now - s->starting_told_ns < STARTING_EVERY_NS)
		return;
	s->starting_told_ns = now;
	(void)sd_notify(0, "EXTEND_TIMEOUT_USEC=" STARTING_MORE_USEC "\nSTATUS=taking over the migrations of a former migd");
}

void supervisor_changed(struct supervisor *s)
{
	struct timeval after = { .tv_usec = STATUS_DELAY_MS * 1000 };

	if (s && !s->status_waits)
		s->status_waits = event_add(s->status, &after) == 0;
}
