/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handover's turning points: begin, pause, abort, loaded, release, activate, retire, reclaim,
 * and the operator's word. Each is the same few steps: the id must be the one under way; a replay
 * of what was done already is answered as it was then; the VMM's hook; the move in the decision
 * page; what follows from it.
 */
#include <errno.h>
#include <string.h>

#include "guest/dispatch.h"
#include "base/fault.h"

/* ---- helpers ---- */

static int check_id(struct migd_guest *g, const uint8_t id[ATTACH_ID_LEN], struct merr *err)
{
	static const uint8_t none[ATTACH_ID_LEN];
	char want[2 * ATTACH_ID_LEN + 1], have[2 * ATTACH_ID_LEN + 1];

	if (memcmp(id, none, ATTACH_ID_LEN) != 0 &&
	    memcmp(id, g->decision.page->handover_id, ATTACH_ID_LEN) == 0)
		return 0;
	handover_id_format(id, want);
	handover_id_format(g->decision.page->handover_id, have);
	return merr_set(err, -EBADFD, "handover %s is not the one under way here, which is %s",
			want, have);
}

static int decode_id(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_handover req;

	if (CALL_DECODE(c, handover, &req, err) < 0)
		return -EBADMSG;
	return check_id(g, req.handover_id, err);
}

static int reply_state(struct migd_guest *g, struct call *c, uint64_t since_ns)
{
	return CALL_REPLY(c, handover_reply, .handover_state = (uint8_t)decision_get(&g->decision),
			  .took_us = (clock_now_ns() - since_ns) / NS_PER_US);
}

static int move(struct migd_guest *g, enum handover_event event, struct merr *err)
{
	int r = decision_move(&g->decision, event, err);

	if (r >= 0)
		events_send(g, ATTACH_EVENT_HANDOVER, 0, NULL);
	return r;
}

/* ---- begin and pause ---- */

static void undo_begin(struct migd_guest *g)
{
	if (decision_get(&g->decision) == HANDOVER_PRECOPY)
		(void)move(g, HANDOVER_EV_ABORT, NULL);
}

int handle_handover_begin(struct migd_guest *g, struct call *c, struct merr *err)
{
	static const uint8_t none[ATTACH_ID_LEN];
	enum handover_state state = decision_get(&g->decision);
	struct attach_handover req;
	bool same;
	int r;

	if (CALL_DECODE(c, handover, &req, err) < 0)
		return -EBADMSG;
	if (memcmp(req.handover_id, none, ATTACH_ID_LEN) == 0)
		return merr_set(err, -EINVAL, "HANDOVER_BEGIN: field 'handover_id' is all zero");
	same = memcmp(req.handover_id, g->decision.page->handover_id, ATTACH_ID_LEN) == 0;
	if (state == HANDOVER_PRECOPY || state == HANDOVER_INCOMING)
		return same ? reply_state(g, c, clock_now_ns())
			    : merr_set(err, -EBUSY, "another handover is under way");
	if (uffd_is_open(g))
		return merr_set(err, -EBUSY, "the guest waits for pages that its last migration has not brought yet");
	if (same)
		return merr_set(err, -EEXIST, "this handover id was used before: take a new one");
	if (g->cpr && state == HANDOVER_EMPTY && !cpr_admits(g->cpr, req.handover_id))
		return merr_set(err, -EBADFD,
				"this VMM shares its memory with a guest that still runs elsewhere, and can "
				"take that guest only: start another VMM for this one");
	if (g->mig.opened_as_target != (state == HANDOVER_EMPTY))
		return merr_set(err, -EBADFD, "the channel was opened for the other role");
	decision_set_id(&g->decision, req.handover_id);
	r = move(g, HANDOVER_EV_BEGIN, err);
	if (r < 0)
		return r;
	g->mig.is_target = state == HANDOVER_EMPTY;
	g->mig.state_loaded = false;
	g->memo.len = 0;
	g->mig.feed = state_feed_free(g->mig.feed);
	if (!g->mig.is_target)
		undo_push(&g->mig.undo, undo_begin);
	return reply_state(g, c, clock_now_ns());
}

int handle_mig_pause(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_mig_pause req;
	int r;

	if (CALL_DECODE(c, mig_pause, &req, err) < 0)
		return -EBADMSG;
	r = check_id(g, req.handover_id, err);
	if (r < 0)
		return r;
	if (g->mig.pause.pending)
		return merr_set(err, -EBUSY, "a pause is under way");
	FAULT_POINT("library.pausing");
	pause_begin(g, &g->mig.pause, GATE_MIGRATION, c->msg->seq, req.deadline_ms);
	c->later = true;
	return 0;
}

/* ---- taking back ---- */

static void tell_discarded(struct migd_guest *g)
{
	FAULT_POINT("library.discarded");
	live_target_end(g, false);
	uffd_end(g);
	HOOK_VOID(g, discard);
	outcome_publish(g);
}

static void roll_back_source(struct migd_guest *g, const char *why)
{
	struct merr err = MERR_INIT;

	(void)merr_set(&err, -ECANCELED, "the migration was taken back: %s", why);
	FAULT_POINT("library.taking-back");
	pause_cancel(g, &g->mig.pause, &err);
	undo_run(&g->mig.undo, g);
	outcome_publish(g);
}

void handover_roll_back(struct migd_guest *g, const char *why)
{
	switch (decision_get(&g->decision)) {
	case HANDOVER_PRECOPY:
	case HANDOVER_PAUSED:
		roll_back_source(g, why);
		break;
	case HANDOVER_INCOMING:
		if (move(g, HANDOVER_EV_ABORT, NULL) >= 0)
			tell_discarded(g);
		break;
	default:
		return; /* nothing to take back, or not ours to decide any more */
	}
	guest_log(g, 4, "the migration was taken back: %s", why);
	events_send(g, ATTACH_EVENT_ROLLED_BACK, 0, why);
}

void handover_never_comes(struct migd_guest *g, const char *why)
{
	if (decision_get(&g->decision) != HANDOVER_EMPTY || move(g, HANDOVER_EV_DISCARD, NULL) < 0)
		return;
	guest_log(g, 4, "the guest will not come: %s", why);
	tell_discarded(g);
}

void handover_discard_at_exit(struct migd_guest *g)
{
	(void)decision_move(&g->decision, HANDOVER_EV_DISCARD, NULL);
}

static int discard(struct migd_guest *g, struct call *c, enum handover_event event,
		   struct merr *err)
{
	int r = move(g, event, err);

	if (r >= 0)
		c->after = tell_discarded;
	return r;
}

/* RUNNING is a replay on a source that was taken back already, and too late on a target. */
int handle_mig_abort(struct migd_guest *g, struct call *c, struct merr *err)
{
	uint64_t now = clock_now_ns();
	int r = decode_id(g, c, err);

	if (r < 0)
		return r;
	switch (decision_get(&g->decision)) {
	case HANDOVER_RELEASED:
		return merr_set(err, -EINPROGRESS,
				"the guest was released: only the target's answer or an operator "
				"brings it back");
	case HANDOVER_RUNNING:
		if (g->mig.is_target)
			return merr_set(err, -EBADFD, "the guest runs here already");
		break;
	case HANDOVER_INCOMING:
	case HANDOVER_LOADED:
		r = discard(g, c, HANDOVER_EV_ABORT, err);
		break;
	case HANDOVER_DISCARDED:
		break;
	default:
		roll_back_source(g, "the worker gave it up");
		break;
	}
	return r < 0 ? r : reply_state(g, c, now);
}

/* ---- target ---- */

/* The daemon gave the guest up: nobody will ask for it. */
int handle_discard(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_empty req;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	if (decision_get(&g->decision) == HANDOVER_DISCARDED)
		return 0;
	return discard(g, c, HANDOVER_EV_DISCARD, err);
}

int handle_handover_loaded(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_handover_loaded req;
	uint64_t now = clock_now_ns();
	int r;

	if (CALL_DECODE(c, handover_loaded, &req, err) < 0)
		return -EBADMSG;
	r = check_id(g, req.handover_id, err);
	if (r < 0)
		return r;
	if (decision_get(&g->decision) == HANDOVER_LOADED)
		return reply_state(g, c, now);
	if (!g->mig.state_loaded)
		return merr_set(err, -EBADFD, "HANDOVER_LOADED: no state was loaded");
	r = HOOK_INT(g, after_load);
	if (r < 0) {
		(void)merr_set_errno(err, r, "the VMM does not accept the loaded guest");
		(void)discard(g, c, HANDOVER_EV_ABORT, NULL);
		return r;
	}
	r = move(g, HANDOVER_EV_LOADED, err);
	if (r < 0)
		return r;
	FAULT_POINT("library.loaded");
	if (req.paused)
		gate_close(&g->gate, GATE_USER);
	return reply_state(g, c, now);
}

static int activate(struct migd_guest *g, struct merr *err)
{
	int r;

	if (gate_has_quit(&g->gate))
		return merr_set(err, -ESHUTDOWN, "the VMM is ending");
	r = decision_move(&g->decision, HANDOVER_EV_ACTIVATE, err);
	if (r < 0)
		return r;
	FAULT_POINT("library.activating");
	pause_activate(g);
	live_target_end(g, true);
	FAULT_POINT("library.activated");
	events_send(g, ATTACH_EVENT_HANDOVER, 0, NULL);
	outcome_publish(g);
	return 0;
}

int handle_activate(struct migd_guest *g, struct call *c, struct merr *err)
{
	uint64_t now = clock_now_ns();
	int r = decode_id(g, c, err);

	if (r < 0)
		return r;
	if (decision_get(&g->decision) == HANDOVER_LOADED)
		r = activate(g, err);
	else if (!g->mig.is_target)
		r = merr_set(err, -EBADFD, "ACTIVATE: this is the source");
	return r < 0 ? r : reply_state(g, c, now);
}

/* ---- source, once the target has all ---- */

int handle_release(struct migd_guest *g, struct call *c, struct merr *err)
{
	uint64_t now = clock_now_ns();
	int r = decode_id(g, c, err);

	if (r < 0)
		return r;
	if (decision_get(&g->decision) == HANDOVER_RELEASED)
		return reply_state(g, c, now);
	r = HOOK_INT(g, release);
	if (r < 0)
		return merr_set_errno(err, r, "the VMM does not give the guest away");
	FAULT_POINT("library.releasing");
	r = move(g, HANDOVER_EV_RELEASE, err);
	FAULT_POINT("library.released");
	return r < 0 ? r : reply_state(g, c, now);
}

static void tell_retired(struct migd_guest *g)
{
	dirty_stop(&g->dirty, &g->gate);
	throttle_off(g);
	live_source_end(g, true);
	HOOK_VOID(g, retire);
	outcome_publish(g);
}

static int retire(struct migd_guest *g, struct call *c, struct merr *err)
{
	int r = move(g, HANDOVER_EV_RETIRE, err);

	if (r < 0)
		return r;
	FAULT_POINT("library.retired");
	g->mig.undo = (struct undo){ 0 }; /* nothing is taken back any more */
	c->after = tell_retired;
	return 0;
}

int handle_retire(struct migd_guest *g, struct call *c, struct merr *err)
{
	uint64_t now = clock_now_ns();
	int r = decode_id(g, c, err);

	if (r >= 0 && decision_get(&g->decision) == HANDOVER_RELEASED)
		r = retire(g, c, err);
	return r < 0 ? r : reply_state(g, c, now);
}

static int reclaim(struct migd_guest *g, struct merr *err)
{
	int r = HOOK_INT(g, reclaim);

	if (r < 0)
		return merr_set_errno(err, r, "the VMM cannot take the guest back");
	r = move(g, HANDOVER_EV_RECLAIM, err);
	if (r < 0)
		return r;
	FAULT_POINT("library.reclaimed");
	undo_run(&g->mig.undo, g);
	outcome_publish(g);
	return 0;
}

int handle_reclaim(struct migd_guest *g, struct call *c, struct merr *err)
{
	uint64_t now = clock_now_ns();
	int r = decode_id(g, c, err);

	if (r < 0)
		return r;
	if (decision_get(&g->decision) == HANDOVER_RELEASED)
		r = reclaim(g, err);
	else if (g->mig.is_target)
		r = merr_set(err, -EBADFD, "RECLAIM: this is the target");
	return r < 0 ? r : reply_state(g, c, now);
}

/* ---- an operator's word ---- */

static int resolve(struct migd_guest *g, struct call *c, bool run, struct merr *err)
{
	enum handover_state state = decision_get(&g->decision);

	switch (state) {
	case HANDOVER_RELEASED:
		return run ? reclaim(g, err) : retire(g, c, err);
	case HANDOVER_LOADED:
		return run ? activate(g, err) : discard(g, c, HANDOVER_EV_DISCARD, err);
	case HANDOVER_RUNNING:
		if (run)
			return 0;
		break;
	default: /* RETIRED, DISCARDED */
		if (!run)
			return 0;
		break;
	}
	return merr_set(err, -EBADFD, "RESOLVE: the handover ended here already, in state '%s'",
			handover_state_name(state));
}

int handle_resolve(struct migd_guest *g, struct call *c, struct merr *err)
{
	uint64_t now = clock_now_ns();
	struct attach_resolve req;
	int r;

	if (CALL_DECODE(c, resolve, &req, err) < 0)
		return -EBADMSG;
	r = check_id(g, req.handover_id, err);
	if (r >= 0)
		r = resolve(g, c, req.run, err);
	return r < 0 ? r : reply_state(g, c, now);
}
