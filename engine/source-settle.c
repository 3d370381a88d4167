/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source in doubt: its guest is released, and whether the target runs it is not known. The guest stays stopped here
 * while the target is asked, over one new connection after another, until it says
 *
 *     ACTIVE       it runs there: retire here
 *     NOT_ACTIVE   it does not and never will: take it back
 *     INCOMPLETE   it runs there, and waits for pages
 *
 * or an operator decides by migrate-resolve.
 *
 * And its last word, over new connections if need be. That its answer arrived (SETTLED): until the target, which keeps it
 * till then, closes the connection. Where the source gave up before RELEASE, or an operator overruled, and the target may be
 * waiting for COMMIT, that it waits in vain (ABORT): until it says NOT_ACTIVE. If the source's worker is gone, a successor does
 * only that. Nothing else depends on either.
 */
#include "engine/source.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/postcopy-recover.h"
#include "engine/reconnect.h"

/* The target's answer takes a message to its library and back. */
#define ANSWER_TIMEOUT_MS 10000

/* A target that nobody can reach for so long has an operator who knows. */
#define ABORT_PATIENCE_MS (3600 * 1000ULL)

/* One that keeps an answer does so for an hour, and nobody is harmed by that. */
#define SETTLED_PATIENCE_MS (300 * 1000ULL)

/* Where nobody has listened for so long, nobody waits: a target that may have to be told is there again by then. */
#define REFUSED_PATIENCE_NS (20 * NS_PER_SEC)

enum answer {
	ANSWER_NONE = 0,
	ANSWER_ACTIVE,
	ANSWER_NOT_ACTIVE,
	ANSWER_INCOMPLETE,
	ANSWER_GONE,	/* there is nothing left to say */
	ANSWER_RUN,	/* the operator's */
	ANSWER_DISCARD,
};

static enum answer operator_answer(struct source *s)
{
	switch (atomic_exchange(&s->m->resolve, RESOLVE_NONE)) {
	case RESOLVE_RUN:
		return ANSWER_RUN;
	case RESOLVE_DISCARD:
		return ANSWER_DISCARD;
	default:
		return ANSWER_NONE;
	}
}

static int unanswerable(struct source *s)
{
	return merr_set(&s->err, -EPROTONOSUPPORT, "the peer is no migd: it did not say whether it runs the guest, and "
			"cannot be asked; see for yourself, then decide with migrate-resolve");
}

/* A new connection to the target, its opening done. */
static int reconnect(struct source *s, struct reconnect *plan)
{
	int r;

	/* A QEMU could not say; and it may be another one by now that listens there. */
	atomic_store(&s->m->rate.lifted, true);
	r = s->peer == PEER_MIGD ? reconnect_try(s, plan) : -EPROTONOSUPPORT;
	if (r != -EPROTONOSUPPORT)
		return r;
	merr_clear(&s->err);
	return unanswerable(s);
}

/* Send COMMAND, and take what the target says to it. */
static enum answer ask(struct source *s, uint16_t command)
{
	struct rp_msg m;

	source_command(s, command);
	FAULT_POINT("handover.asked");
	in_timeout(s->in, ANSWER_TIMEOUT_MS);
	if (rp_read(s->in, &m) < 0)
		return command == WIRE_CMD_SETTLED && s->err.code == -ENODATA ? ANSWER_GONE : ANSWER_NONE;
	/* A target that failed is not waiting to be told. Whether it runs, only an answer with the handover's id says. */
	if (m.type == WIRE_RP_ERROR && command == WIRE_CMD_ABORT)
		return ANSWER_NOT_ACTIVE;
	if (rp_check_id(s->in, &m, s->m->handover_id) < 0)
		return ANSWER_NONE;
	switch (m.type) {
	case WIRE_RP_ACTIVE:
		return ANSWER_ACTIVE;
	case WIRE_RP_NOT_ACTIVE:
		FAULT_POINT("handover.not-active-received");
		return ANSWER_NOT_ACTIVE;
	case WIRE_RP_INCOMPLETE:
		return ANSWER_INCOMPLETE;
	default:
		return ANSWER_NONE;
	}
}

/* Ask, again and again, until there is an answer. An operator's word ends a pause early. */
static enum answer find_out(struct source *s)
{
	struct reconnect plan = reconnect_plan(UINT64_MAX, -1);
	enum answer a;

	for (;;) {
		a = reconnect(s, &plan) == 0 ? ask(s, WIRE_CMD_ASK) : ANSWER_NONE;
		if (a == ANSWER_NONE)
			a = operator_answer(s);
		if (a != ANSWER_NONE)
			return a;
		report_error(s->m, s->doubt_status, &s->err);
		(void)reconnect_pause(s, &plan);
	}
}

/* Nobody listens there; or somebody who listens for a target that is gone refuses, or hangs up. */
static bool is_turned_away(int code)
{
	return code == -ECONNREFUSED || code == -ECONNRESET || code == -ENODATA || code == -EPIPE || code == -EREMOTEIO;
}

/* After a failed attempt to connect: whether somebody may yet be found there. */
static bool is_hopeful(const struct source *s, uint64_t *refused_since_ns)
{
	uint64_t now = clock_now_ns();

	/* Who is there now is no migd, and would be harmed by another attempt. */
	if (s->err.code == -EPROTONOSUPPORT)
		return false;
	if (!is_turned_away(s->err.code))
		*refused_since_ns = now;
	return now - *refused_since_ns < REFUSED_PATIENCE_NS;
}

/* Over new connections. */
static enum answer tell_anew(struct source *s, uint16_t command, uint64_t patience_ms)
{
	struct reconnect plan = reconnect_plan(patience_ms, -1);
	uint64_t refused_since_ns = clock_now_ns();
	enum answer a = ANSWER_NONE;

	do {
		if (reconnect(s, &plan) == 0) {
			a = ask(s, command);
			refused_since_ns = clock_now_ns();
		} else if (!is_hopeful(s, &refused_since_ns)) {
			break;
		}
	} while (a == ANSWER_NONE && reconnect_pause(s, &plan) == 0);
	return a;
}

/* False: it was not heard for PATIENCE_MS, or nobody is there. */
static bool tell(struct source *s, uint16_t command, uint64_t patience_ms)
{
	enum answer a = ANSWER_NONE;

	merr_clear(&s->err);
	if (s->chan) {
		chan_set_cancel(s->chan, -1);
		a = ask(s, command);
	}
	return a != ANSWER_NONE || tell_anew(s, command, patience_ms) != ANSWER_NONE;
}

void source_tell_abort(struct source *s)
{
	FAULT_POINT("handover.abort-sending");
	if (!tell(s, WIRE_CMD_ABORT, ABORT_PATIENCE_MS))
		log_warning("the destination could not be told that the guest stays here: %s; there, end it by "
			    "migrate-resolve, outcome discard guest=\"%s\"", merr_msg(&s->err),
			    s->m->start.guest);
}

void source_tell_last_word(struct source *s)
{
	if (!s->last_word || s->peer != PEER_MIGD || !migration_has_return_path(s->m))
		return;
	/* The library has its guest back, or none any more: it needs no worker for this. */
	guest_link_done(&s->guest);
	if (s->last_word == WIRE_CMD_ABORT)
		source_tell_abort(s);
	else
		(void)tell(s, s->last_word, SETTLED_PATIENCE_MS);
}

void source_abort_only(struct source *s)
{
	/* The daemon says why, of which it knows more. */
	(void)merr_set(&s->err, -EIO, "the migration's worker was lost");
	report_error(s->m, MIGRATION_STATUS_FAILED, &s->err);
	source_tell_abort(s);
	report_done(s->m, true);
}

enum source_end source_reclaim(struct source *s, const char *because)
{
	struct merr why = MERR_INIT;

	merr_clear(&s->err);
	/* A RELEASE whose reply was lost may not have been carried out: then there is nothing to reclaim but to abort. */
	if (guest_reclaim(&s->guest, &why) < 0 && guest_abort(&s->guest, NULL, NULL) < 0) {
		(void)merr_set(&s->err, -EIO, "the guest was to run here again (%s), but: %s", because,
			       merr_msg(&why));
		/* It is known what became of it: it runs nowhere. */
		report_handover(s->m, HANDOVER_RELEASED, false);
		return SOURCE_LOST;
	}
	(void)merr_set(&s->err, -ECONNABORTED, "the handover failed: %s; the guest runs here again", because);
	FAULT_POINT("handover.reclaimed");
	s->last_word = WIRE_CMD_SETTLED;
	return SOURCE_RECLAIMED;
}

enum source_end source_retire(struct source *s)
{
	struct merr ignored = MERR_INIT;

	/* The VMM may be gone: it is not needed any more. */
	(void)guest_retire(&s->guest, &ignored);
	FAULT_POINT("handover.retired");
	s->last_word = WIRE_CMD_SETTLED;
	return SOURCE_RETIRED;
}

/* An operator decided: there is no answer whose arrival could be confirmed, but a target that is still loaded waits in vain. */
static enum source_end overruled(struct source *s, enum source_end end)
{
	s->last_word = end == SOURCE_RECLAIMED ? WIRE_CMD_ABORT : 0;
	return end;
}

enum source_end source_settle(struct source *s)
{
	source_close_channels(s);
	report_handover(s->m, HANDOVER_RELEASED, true);
	switch (find_out(s)) {
	case ANSWER_NOT_ACTIVE:
		return source_reclaim(s, "the target does not run the guest");
	case ANSWER_INCOMPLETE:
		return postcopy_recover(s, true);
	case ANSWER_RUN:
		return overruled(s, source_reclaim(s, "an operator decided so by migrate-resolve"));
	case ANSWER_DISCARD:
		return overruled(s, source_retire(s));
	default:
		return source_retire(s);
	}
}
