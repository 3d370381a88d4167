/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping the guest as a whole, and letting it go on. Service thread.
 *
 * A pause closes the gate and returns to the service loop; when the last vCPU has parked, the guest
 * is *settled*: the clock is read, then the VMM's devices are quiesced. A guest may be held by
 * several reasons at once (an operator's stop, a migration); it is settled once and let go when the
 * last of them is lifted.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "attach/codec.h"
#include "base/fault.h"
#include "guest/dispatch.h"

/* A deadline of 0 means this; more than the most would only tie up who waits. */
#define PAUSE_DEADLINE_DEFAULT_MS 1000U
#define PAUSE_DEADLINE_MAX_MS     60000U

static bool is_migration(const struct migd_guest *g, const struct pause_wait *w)
{
	return w == &g->mig.pause;
}

static unsigned int reason_of(const struct migd_guest *g, const struct pause_wait *w)
{
	return is_migration(g, w) ? GATE_MIGRATION : GATE_USER;
}

void pause_begin(struct migd_guest *g, struct pause_wait *w, unsigned int reason, uint32_t seq,
		 uint32_t deadline_ms)
{
	if (!deadline_ms)
		deadline_ms = PAUSE_DEADLINE_DEFAULT_MS;
	if (deadline_ms > PAUSE_DEADLINE_MAX_MS)
		deadline_ms = PAUSE_DEADLINE_MAX_MS;
	*w = (struct pause_wait){
		.pending = true,
		.seq = seq,
		.deadline_ms = deadline_ms,
		.before = run_state_of(g),
		.request_ns = clock_now_ns(),
	};
	w->deadline_ns = w->request_ns + deadline_ms * NS_PER_MS;
	g->settle.next_kick_ns = w->request_ns + GATE_REKICK_NS;
	gate_close(&g->gate, reason);
}

/* All are parked: stop the clock and the devices, once. */
static int settle(struct migd_guest *g, struct merr *err)
{
	int r;

	if (!g->settle.clock_stopped) {
		r = arch_clock_stopped(g->arch, err);
		if (r < 0)
			return r;
		g->settle.clock_stopped = true;
	}
	if (g->settle.quiesced)
		return 0;
	/* Also when the hook fails half-way: what it stopped has to be started again. */
	g->settle.quiesced = true;
	r = HOOK_INT(g, quiesce);
	if (r < 0)
		return merr_set_errno(err, r, "the VMM could not quiesce its devices");
	events_send(g, ATTACH_EVENT_STOPPED, 0, NULL);
	return 0;
}

static void unsettle(struct migd_guest *g)
{
	struct merr err = MERR_INIT;

	if (g->settle.clock_stopped && arch_clock_resume(g->arch, false, &err) < 0)
		guest_log(g, 4, "the guest goes on with an unadjusted clock: %s", merr_msg(&err));
	if (g->settle.quiesced)
		HOOK_VOID(g, unquiesce);
	g->settle.clock_stopped = g->settle.quiesced = false;
}

void pause_lift(struct migd_guest *g, unsigned int reason)
{
	bool was_stopped = g->settle.quiesced, last;

	/* The last authority: whatever led here, a guest that was given away does not run. */
	if (reason != GATE_USER && !handover_may_run(decision_get(&g->decision)))
		return;
	last = !(gate_reasons(&g->gate) & GATE_HELD & ~reason);
	if (last)
		unsettle(g);
	gate_open(&g->gate, reason);
	if (last && was_stopped)
		events_send(g, ATTACH_EVENT_RESUMED, 0, NULL);
}

void pause_activate(struct migd_guest *g)
{
	struct merr err = MERR_INIT;

	if (arch_clock_resume(g->arch, true, &err) < 0)
		guest_log(g, 4, "the guest starts with an unadjusted clock: %s", merr_msg(&err));
	HOOK_VOID(g, activate);
	/* Devices start with the guest: at once, or when an operator lets it go. */
	g->settle.quiesced = true;
	if (gate_reasons(&g->gate) & GATE_USER) {
		merr_clear(&err);
		g->settle.clock_stopped = arch_clock_stopped(g->arch, &err) >= 0;
	} else {
		g->settle.clock_stopped = false;
	}
	pause_lift(g, GATE_AWAY);
}

/* ---- the replies ---- */

static struct conn *conn_of(struct migd_guest *g, const struct pause_wait *w)
{
	return is_migration(g, w) ? g->mig.conn : g->control.conn;
}

static uint16_t type_of(const struct migd_guest *g, const struct pause_wait *w)
{
	return is_migration(g, w) ? ATTACH_MIG_PAUSE : ATTACH_PAUSE;
}

static void reply_done(struct migd_guest *g, const struct pause_wait *w)
{
	uint8_t bytes[64];
	struct wcur c = wcur_of(bytes, sizeof(bytes));
	struct attach_mig_pause_reply rep = {
		.run_state_before = (uint8_t)w->before,
		.request_ns = w->request_ns,
		.took_us = (clock_now_ns() - w->request_ns) / NS_PER_US,
	};

	if (is_migration(g, w))
		(void)attach_mig_pause_reply_encode(&c, &rep);
	/* A connection that cannot take it is found out by poll(). */
	if (conn_of(g, w) && w->seq)
		(void)conn_reply_to(conn_of(g, w), type_of(g, w), w->seq, bytes, c.len);
}

void pause_cancel(struct migd_guest *g, struct pause_wait *w, const struct merr *why)
{
	if (!w->pending)
		return;
	w->pending = false;
	pause_lift(g, reason_of(g, w));
	if (conn_of(g, w) && w->seq)
		(void)conn_reply_error_to(conn_of(g, w), type_of(g, w), w->seq, why);
}

static void undo_pause(struct migd_guest *g)
{
	if (decision_get(&g->decision) == HANDOVER_PAUSED &&
	    decision_move(&g->decision, HANDOVER_EV_ABORT, NULL) >= 0)
		events_send(g, ATTACH_EVENT_HANDOVER, 0, NULL);
	pause_lift(g, GATE_MIGRATION);
}

static int finish_migration(struct migd_guest *g, struct merr *err)
{
	int r = decision_move(&g->decision, HANDOVER_EV_PAUSE, err);

	if (r < 0)
		return r;
	FAULT_POINT("library.paused");
	undo_push(&g->mig.undo, undo_pause);
	g->mig.last_heard_ns = clock_now_ns(); /* the lease runs from here */
	events_send(g, ATTACH_EVENT_HANDOVER, 0, NULL);
	return 0;
}

static void finish(struct migd_guest *g, struct pause_wait *w)
{
	struct merr err = MERR_INIT;
	int r;

	if (!w->pending)
		return;
	r = settle(g, &err);
	if (r >= 0 && is_migration(g, w))
		r = finish_migration(g, &err);
	if (r < 0) {
		pause_cancel(g, w, &err);
		return;
	}
	w->pending = false;
	reply_done(g, w);
}

static void expire(struct migd_guest *g, struct pause_wait *w, uint64_t now_ns)
{
	struct merr err = MERR_INIT;

	if (!w->pending || now_ns < w->deadline_ns)
		return;
	(void)merr_set(&err, -ETIMEDOUT,
		       "vCPU %d did not stop within %" PRIu32
		       " ms: its thread %s",
		       gate_straggler(&g->gate), w->deadline_ms,
		       uffd_is_open(g) ? "waits for a page that has not come yet, or is busy in the VMM" :
					 "is busy in the VMM, or blocked in a page fault");
	pause_cancel(g, w, &err);
}

void pause_poll(struct migd_guest *g, uint64_t now_ns)
{
	struct pause_wait *user = &g->control.pause, *mig = &g->mig.pause;

	if (!user->pending && !mig->pending)
		return;
	if (gate_all_parked(&g->gate)) {
		finish(g, user);
		finish(g, mig);
		return;
	}
	expire(g, user, now_ns);
	expire(g, mig, now_ns);
	if (now_ns >= g->settle.next_kick_ns && (user->pending || mig->pending)) {
		gate_kick(&g->gate);
		g->settle.next_kick_ns = now_ns + GATE_REKICK_NS;
	}
}

uint64_t pause_deadline(const struct migd_guest *g)
{
	bool pending = g->control.pause.pending || g->mig.pause.pending;

	return pending ? g->settle.next_kick_ns : DEADLINE_NONE;
}
