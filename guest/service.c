/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service thread: one poll loop over the control connection, its listener, the migration
 * channel, and timers.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/internal.h"

/*
 * Each says when it wants to run next, and runs when that time has come (or earlier: it looks
 * itself).
 */
static const struct {
	uint64_t (*deadline)(const struct migd_guest *g);
	void (*tick)(struct migd_guest *g, uint64_t now_ns);
} timers[] = {
	{ pause_deadline, pause_poll },
	{ migration_deadline, migration_tick },
	{ throttle_deadline, throttle_tick },
	{ dirty_limit_deadline, dirty_limit_tick },
	{ dirty_rate_deadline, dirty_rate_tick },
	{ control_deadline, control_tick },
	{ control_listen_deadline, control_listen_tick },
};

enum { POLL_WAKE, POLL_MIGRATION, POLL_CONTROL, POLL_LISTEN, POLL_CPR, POLL_N };

static void wait_for_work(struct migd_guest *g, struct pollfd p[POLL_N])
{
	uint64_t deadline = DEADLINE_NONE;

	p[POLL_WAKE] = (struct pollfd){ .fd = g->wake_fd, .events = POLLIN };
	p[POLL_MIGRATION] =
		(struct pollfd){ .fd = g->mig.conn ? conn_fd(g->mig.conn) : -1, .events = POLLIN };
	p[POLL_CONTROL] = (struct pollfd){ .fd = g->control.conn ? conn_fd(g->control.conn) : -1,
					   .events = POLLIN };
	p[POLL_LISTEN] = (struct pollfd){ .fd = control_listen_fd(g), .events = POLLIN };
	p[POLL_CPR] = (struct pollfd){ .fd = cpr_poll_fd(g->cpr), .events = POLLIN };
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
		deadline = min_u64(deadline, timers[i].deadline(g));
	if (poll(p, POLL_N, clock_poll_ms(deadline)) < 0)
		for (size_t i = 0; i < POLL_N; i++)
			p[i].revents = 0;
}

/* One message of each connection a round, so that neither starves the other or the timers. */
static void do_work(struct migd_guest *g, const struct pollfd p[POLL_N])
{
	uint64_t now;

	if (p[POLL_WAKE].revents) {
		wake_drain(g->wake_fd);
		events_flush(g);
	}
	if (p[POLL_MIGRATION].revents && g->mig.conn)
		migration_readable(g);
	if (p[POLL_CONTROL].revents && g->control.conn)
		control_readable(g);
	if (p[POLL_LISTEN].revents)
		control_acceptable(g);
	if (p[POLL_CPR].revents && cpr_poll_fd(g->cpr) >= 0)
		cpr_readable(g);
	now = clock_now_ns();
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
		timers[i].tick(g, now);
}

static void *service_main(void *opaque)
{
	struct migd_guest *g = opaque;
	struct pollfd p[POLL_N];

	/* Until migd_guest_start() is through with its bookkeeping. */
	(void)pthread_mutex_lock(&g->registration);
	(void)pthread_mutex_unlock(&g->registration);
	while (!gate_has_quit(&g->gate)) {
		wait_for_work(g, p);
		do_work(g, p);
	}
	events_flush(g);
	/*
	 * An incoming guest that this VMM gives up will not run here: say so where it can be read.
	 */
	handover_discard_at_exit(g);
	live_source_end(g, false);
	live_target_end(g, false);
	live_close_area(g);
	g->control.conn = conn_free(g->control.conn);
	g->mig.conn = conn_free(g->mig.conn);
	g->mig.feed = state_feed_free(g->mig.feed);
	return NULL;
}

int service_start(struct migd_guest *g, struct merr *err)
{
	sigset_t all, old;
	int r;

	/* The VMM's signals are for the VMM's threads. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&g->service, NULL, service_main, g);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return merr_set_errno(err, -r, "cannot start the service thread");
	(void)pthread_setname_np(g->service, "migd-guest");
	__atomic_store_n(&g->has_service, true, __ATOMIC_RELEASE);
	return 0;
}

void service_wake(struct migd_guest *g)
{
	wake_raise(g->wake_fd);
}

void service_join(struct migd_guest *g)
{
	if (!g->has_service)
		return;
	(void)pthread_join(g->service, NULL);
	g->has_service = false;
}
