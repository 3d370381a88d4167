/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target from LOADED on: COMMIT makes it run the guest, ASK makes it decide.
 *
 * A lost connection changes nothing: the source comes back and asks (ASK), and then a guest that was not activated is
 * discarded before NOT_ACTIVE is answered. After either answer the worker stays until the source has SETTLED, in
 * case the answer got lost.
 */
#include "engine/target.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/postcopy-recover.h"
#include "engine/return-path.h"

/* How long a worker waits for SETTLED after ACTIVE, or for an ASK once the guest was discarded. */
#define LINGER_NS (3600 * NS_PER_SEC)

/* The same for tests that do not wait for it. */
#define BRIEFLY_NS (2 * NS_PER_SEC)

/* The same where the source may have nothing to ask. */
#define SHORT_LINGER_NS (60 * NS_PER_SEC)

/* A source that has nothing to say for so long may have lost this connection and be trying another one. */
#define SILENCE_MS 3000

/* A command with our id and nothing else; or POSTCOPY_RUN, which a QEMU knows, too, and which has none. */
static int receive_id_command(struct target *t, uint16_t *ret_command)
{
	uint8_t id[ATTACH_ID_LEN];
	uint16_t len;

	if (in_u8(t->in) != WIRE_COMMAND || command_read(t->in, ret_command, &len) < 0)
		return in_fail(t->in, -EBADMSG, "a command of the handover was expected");
	if (*ret_command == WIRE_CMD_POSTCOPY_RUN && postcopy_target_listens(t))
		return command_expect(t->in, *ret_command, len, 0);
	if (command_expect(t->in, *ret_command, len, ATTACH_ID_LEN) < 0 ||
	    in_bytes(t->in, id, sizeof(id)) < 0)
		return in_error(t->in);
	if (memcmp(id, t->guest.id, sizeof(id)) != 0)
		return in_fail(t->in, -EBADMSG, "command 0x%x is about another handover", *ret_command);
	return 0;
}

/* LOADED > RUNNING. Only a COMMIT, in post-copy a RUN, or an operator gets here. */
static int activate(struct target *t, uint64_t *ret_us)
{
	int r;

	*ret_us = 0;
	stats_set(t->m->stats, blackout_commit_us, target_lap_us(t));
	FAULT_POINT("handover.commit-received");
	r = target_call_activate(t, ret_us);
	if (r < 0)
		return r;
	FAULT_POINT("handover.activated");
	report_handover(t->m, HANDOVER_RUNNING, false);
	stats_set(t->m->stats, blackout_resume_us, *ret_us);
	if (postcopy_target_listens(t))
		postcopy_target_started(t);
	else
		report_status(t->m, MIGRATION_STATUS_COMPLETED);
	return 0;
}

/* What this side knows about a guest that was loaded. */
struct settlement {
	bool runs;		/* it was activated here */
	bool told;		/* it never will be, and the daemon knows */
	uint64_t deadline_ns;	/* then nobody will ask any more */
};

enum verdict {
	VERDICT_UNKNOWN = 0,
	VERDICT_RUNS,
	VERDICT_NEVER,	/* does not run, and will not */
};

/*
 * Whether the guest runs here. The library makes sure: what it did not activate it discards now. Without it (its VMM is
 * gone) the decision page tells; a VMM that is there and does not answer leaves it open.
 */
static enum verdict decide(struct target *t)
{
	struct merr why = MERR_INIT;

	/* In post-copy it could be stuck in a page that will not come. */
	if (!decision_runs(t->m->decision_fd, t->guest.id))
		postcopy_target_let_go(t);
	if (guest_abort(&t->guest, NULL, &why) == 0)
		return VERDICT_NEVER;
	if (decision_runs(t->m->decision_fd, t->guest.id))
		return VERDICT_RUNS;
	if (t->m->vmm_fd >= 0 && fd_wait(t->m->vmm_fd, POLLIN, -1, 0) > 0)
		return decision_runs(t->m->decision_fd, t->guest.id) ? VERDICT_RUNS : VERDICT_NEVER;
	log_warning("cannot tell whether the guest runs here: %s guest=\"%s\"", merr_msg(&why),
		    t->m->start.guest);
	return VERDICT_UNKNOWN;
}

/* What was said before stays so, and needs no library. */
static enum verdict verdict_of(struct target *t, const struct settlement *s)
{
	if (s->runs)
		return VERDICT_RUNS;
	return s->told ? VERDICT_NEVER : decide(t);
}

static void discarded(struct target *t, const char *because)
{
	struct merr why = MERR_INIT;

	(void)merr_set(&why, -ECONNABORTED, "the guest was discarded here: %s", because);
	report_handover(t->m, HANDOVER_DISCARDED, false);
	report_error(t->m, MIGRATION_STATUS_FAILED, &why);
}

#define BY_SOURCE "the source took it back: it failed, was cancelled, or lost the connection"

/* How a conversation with the source stands. */
enum talk {
	TALK_GOES_ON = 1,
	TALK_SETTLED,	/* both sides know */
	TALK_BROKEN,	/* this connection is of no use any more */
};

/* COMMIT, once or again. */
static enum talk answer_commit(struct target *t, struct settlement *s)
{
	uint64_t us = 0;

	if (s->told || (!s->runs && activate(t, &us) < 0))
		return TALK_BROKEN;
	s->runs = true;
	FAULT_POINT("handover.active-sending");
	return rp_send_id_be64(t->chan, WIRE_RP_ACTIVE, t->guest.id, us) == 0 ? TALK_GOES_ON : TALK_BROKEN;
}

static enum talk answer_ask(struct target *t, struct settlement *s)
{
	enum verdict v = verdict_of(t, s);
	int r;

	FAULT_POINT("handover.ask-decided");
	if (v == VERDICT_UNKNOWN)
		return TALK_BROKEN;
	s->runs = v == VERDICT_RUNS;
	if (s->runs) {
		report_handover(t->m, HANDOVER_RUNNING, false);
		r = rp_send_id_be64(t->chan, WIRE_RP_ACTIVE, t->guest.id, 0);
		return r == 0 ? TALK_GOES_ON : TALK_BROKEN;
	}
	if (!s->told)
		discarded(t, BY_SOURCE);
	s->told = true;
	/* The answer may get lost too: until SETTLED. */
	FAULT_POINT("handover.not-active-sending");
	r = rp_send_id(t->chan, WIRE_RP_NOT_ACTIVE, t->guest.id);
	return r == 0 ? TALK_GOES_ON : TALK_BROKEN;
}

/* ABORT: the source goes on, so this side never will. */
static enum talk answer_abort(struct target *t, struct settlement *s)
{
	FAULT_POINT("handover.abort-received");
	if (verdict_of(t, s) != VERDICT_NEVER)
		return TALK_BROKEN;
	if (!s->told)
		discarded(t, BY_SOURCE);
	s->told = true;
	/* If that gets lost, the source says it again. */
	return rp_send_id(t->chan, WIRE_RP_NOT_ACTIVE, t->guest.id) == 0 ? TALK_SETTLED : TALK_BROKEN;
}

/* The source would go on with pre-copy: there is nothing to go on with. It fails by that, and knows. */
static enum talk refuse_resume(struct target *t, const struct settlement *s)
{
	struct merr why = MERR_INIT;

	if (!s->told)
		return TALK_BROKEN;
	(void)merr_set(&why, -ECONNABORTED, "the guest was discarded here");
	rp_send_error(t->chan, &why);
	return TALK_SETTLED;
}

/* One command of the handover; or, before RUN, pages that the loading of the guest's state asked for. */
static enum talk converse(struct target *t, struct settlement *s)
{
	uint16_t command;

	if (postcopy_target_listens(t) && !s->runs && !s->told && in_peek(t->in) == WIRE_SECTION_PART)
		return target_receive_pages(t) == 0 ? TALK_GOES_ON : TALK_BROKEN;
	if (receive_id_command(t, &command) < 0)
		return TALK_BROKEN;
	switch (command) {
	case WIRE_CMD_COMMIT:
		return postcopy_target_listens(t) ? TALK_BROKEN : answer_commit(t, s);
	case WIRE_CMD_POSTCOPY_RUN:
		return postcopy_target_runs(t) ? TALK_BROKEN : answer_commit(t, s);
	case WIRE_CMD_ASK:
		return answer_ask(t, s);
	case WIRE_CMD_ABORT:
		return answer_abort(t, s);
	case WIRE_CMD_PRECOPY_RESUME:
		return refuse_resume(t, s);
	case WIRE_CMD_SETTLED:
		FAULT_POINT("handover.settled-received");
		return s->runs || s->told ? TALK_SETTLED : TALK_BROKEN;
	default:
		return TALK_BROKEN;
	}
}

/* The operator's word, once. True: it settled the matter. */
static bool operator_decided(struct target *t, struct settlement *s)
{
	uint64_t us;
	int word = atomic_exchange(&t->m->resolve, RESOLVE_NONE);

	if (s->told)
		return false;
	if (word == RESOLVE_RUN && !s->runs && postcopy_target_listens(t)) {
		log_warning("the guest cannot be run without the source: pages of it are missing guest=\"%s\"", t->m->start.guest);
		return false;
	}
	if (word == RESOLVE_RUN && !s->runs && activate(t, &us) == 0)
		s->runs = true;
	else if (word == RESOLVE_DISCARD && !s->runs && decide(t) == VERDICT_NEVER)
		discarded(t, "an operator decided so by migrate-resolve");
	return word != RESOLVE_NONE;
}

/* What settle() may wait for. */
struct waiting {
	bool commands;	/* the connection has something to say, or is closed */
	bool arrivals;	/* a new connection */
};

/*
 * Wait for a command, a new connection, an operator's word, or the end of a VMM whose guest is not decided yet. As long as
 * a connection is there and not silent for SILENCE_MS, nobody else is listened to: a stranger's connection must not hold up
 * the COMMIT that a stopped guest waits for.
 */
static struct waiting settle_wait(struct target *t, const struct settlement *s, uint64_t silent_ns)
{
	bool listens = !t->chan || clock_now_ns() >= silent_ns;
	struct pollfd p[] = {
		{ .fd = t->chan ? chan_fd(t->chan) : -1, .events = POLLIN },
		{ .fd = listens ? reception_fd(t->reception) : -1, .events = POLLIN },
		{ .fd = t->m->answer_fd, .events = POLLIN },
		{ .fd = s->told || s->runs ? -1 : t->m->vmm_fd, .events = POLLIN },
	};

	/* What was read ahead with the opening does not show in poll(). */
	if (t->in && in_ready(t->in))
		return (struct waiting){ .commands = true };
	(void)poll(p, ARRAY_SIZE(p), clock_poll_ms(listens ? min_u64(s->deadline_ns, reception_deadline(t->reception))
						   : silent_ns));
	if (listens)
		reception_work(t->reception);
	return (struct waiting){ .commands = p[0].revents,
				 .arrivals = listens && reception_count(t->reception, ARRIVAL_MAIN) > 0 };
}

/* The VMM is gone before anybody activated its guest: nobody can any more. The source may still have to hear that. */
static void check_vmm(struct target *t, struct settlement *s)
{
	if (s->told || s->runs || t->m->vmm_fd < 0 || fd_wait(t->m->vmm_fd, POLLIN, -1, 0) < 0)
		return;
	if (decide(t) == VERDICT_RUNS) {
		s->runs = true;
		report_handover(t->m, HANDOVER_RUNNING, false);
		return;
	}
	s->told = true;
	discarded(t, "its VMM is gone");
}

/* What came is dealt with; true if that settled the matter. */
static bool settle_step(struct target *t, struct settlement *s, struct waiting w)
{
	if (w.commands && t->chan) {
		in_timeout(t->in, OPENING_TIMEOUT_MS);
		switch (converse(t, s)) {
		case TALK_SETTLED:
			return true;
		case TALK_GOES_ON:
			break;
		case TALK_BROKEN:
			target_disconnect(t);
			if (!s->runs && !s->told)
				report_handover(t->m, HANDOVER_LOADED, true);
		}
	}
	if (w.arrivals && target_accept(t, -1) == 0 &&
	    memcmp(t->hello.handover_id, t->guest.id, ATTACH_ID_LEN) != 0)
		target_disconnect(t);
	return false;
}

/*
 * Loaded or running: stay until both sides know. The migration's own connection goes on to be used; when it breaks, or hangs,
 * the source comes back on a new one.
 */
static void settle(struct target *t, struct settlement *s)
{
	uint64_t silent_ns = clock_now_ns() + SILENCE_MS * NS_PER_MS;
	struct waiting w;

	guest_link_no_cancel(&t->guest);
	if (t->chan)
		chan_set_cancel(t->chan, -1);
	else if (!s->runs && !s->told)
		report_handover(t->m, HANDOVER_LOADED, true);
	for (;;) {
		/* Until all pages are here the connection, and those that follow, are theirs. */
		if (postcopy_target_runs(t) && postcopy_target_finish(t) < 0) {
			postcopy_target_lost(t);
			return;
		}
		/* It may migrate on from here: who still asks is answered without its library. */
		if (s->runs)
			guest_link_done(&t->guest);
		if ((s->runs || s->told) && s->deadline_ns == DEADLINE_NONE)
			s->deadline_ns = clock_now_ns() + (fault_is_on("linger-briefly") ? BRIEFLY_NS : LINGER_NS);
		w = settle_wait(t, s, silent_ns);
		if (clock_now_ns() >= s->deadline_ns)
			return;
		check_vmm(t, s);
		wake_drain(t->m->answer_fd);
		if (operator_decided(t, s) || settle_step(t, s, w))
			return;
		if (w.commands || w.arrivals)
			silent_ns = clock_now_ns() + SILENCE_MS * NS_PER_MS;
	}
}

bool target_settle(struct target *t, bool runs)
{
	struct settlement s = { .runs = runs, .deadline_ns = DEADLINE_NONE };

	settle(t, &s);
	return s.runs;
}

void target_settle_discarded(struct target *t)
{
	struct settlement s = { .told = true, .deadline_ns = clock_now_ns() + SHORT_LINGER_NS };

	target_disconnect(t);
	settle(t, &s);
}

void target_abort_only(struct target *t)
{
	bool runs = decision_runs(t->m->decision_fd, t->m->handover_id);
	struct settlement s = { .runs = runs, .told = !runs, .deadline_ns = DEADLINE_NONE };

	memcpy(t->guest.id, t->m->handover_id, sizeof(t->guest.id));
	if (!runs)
		discarded(t, "the migration's worker was lost");
	t->reception = reception_new(t->m, target_note_refusal, t);
	if (t->reception && reception_open(t->reception))
		settle(t, &s);
	report_done(t->m, runs);
}
