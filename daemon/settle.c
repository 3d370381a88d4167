/* SPDX-License-Identifier: Apache-2.0 */
/* When a worker is missing: wait for the library's rollback, start a successor, or note the end. */
#include "daemon/settle.h"

#include <errno.h>

#include "attach/handover.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log-events.h"
#include "daemon/daemon.h"
#include "daemon/cpr.h"
#include "daemon/dial.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/queue.h"
#include "daemon/record.h"
#include "daemon/recovery.h"
#include "daemon/start.h"
#include "daemon/stream.h"
#include "daemon/timer.h"
#include "daemon/worker.h"

/*
 * Longer than the library's lease (10 s), after which it rolls back even if it did not see the
 * channel end.
 */
#define ROLLBACK_PATIENCE_MS 15000U
/* How often to look whether a VMM without connection still lives, and to try what did not work. */
#define LOOK_AGAIN_MS          1000U
#define ADOPT_PATIENCE_MS      10000U
#define SUCCESSOR_DELAY_MAX_MS 30000U
/* Nothing depends on their word but that the peer waits in vain, which an operator can end. */
#define TELLERS_MAX 10U

enum action {
	ACTION_WAIT = 1, /* for the library */
	ACTION_FAILED,   /* the guest is where it was */
	ACTION_TELL,	 /* the same, or it is discarded, and a successor tells the peer */
	ACTION_SUCCEED,	 /* start a successor */
	ACTION_COMPLETED,
};

static const enum action source_actions[HANDOVER_PHASE__MAX] = {
	[HANDOVER_PHASE_RUNNING] = ACTION_TELL,      [HANDOVER_PHASE_PRECOPY] = ACTION_WAIT,
	[HANDOVER_PHASE_PAUSED] = ACTION_WAIT,       [HANDOVER_PHASE_RELEASED] = ACTION_SUCCEED,
	[HANDOVER_PHASE_RETIRED] = ACTION_COMPLETED,
};

/*
 * A source that was told LOADED may ask what became of it, also long afterwards: somebody has to
 * answer.
 */
static const enum action target_actions[HANDOVER_PHASE__MAX] = {
	[HANDOVER_PHASE_EMPTY] = ACTION_FAILED,   [HANDOVER_PHASE_INCOMING] = ACTION_WAIT,
	[HANDOVER_PHASE_LOADED] = ACTION_SUCCEED, [HANDOVER_PHASE_RUNNING] = ACTION_SUCCEED,
	[HANDOVER_PHASE_DISCARDED] = ACTION_TELL,
};

/* Whether the peer waits for a word, and can be told. */
static bool can_tell(const struct migration *m)
{
	return m->peer_waits && addr_is_network(&m->addr);
}

static enum action choose(const struct migration *m)
{
	enum handover_phase phase = migration_phase(m);
	enum action a;

	if (m->mode == WORKER_MODE_ABORT)
		a = ACTION_TELL;
	else if (m->direction == WORKER_DIRECTION_OUTGOING)
		a = source_actions[phase];
	else
		a = target_actions[phase];
	/* Nobody to tell, or no way to. */
	if (a == ACTION_TELL && !can_tell(m))
		a = ACTION_FAILED;
	return a ? a : ACTION_FAILED;
}

static void on_timer(evutil_socket_t fd, short what, void *opaque);

static void look_again(struct migration *m, unsigned int ms)
{
	m->timer = timer_free(m->timer);
	m->timer = timer_start(m->guest->daemon->base, ms, on_timer, m);
}

static const char worker_lost[] = "the migration's worker was lost";

static void finish(struct migration *m, enum migration_status status)
{
	struct merr err = MERR_INIT;

	(void)merr_set(&err, -EIO, worker_lost);
	if (status == MIGRATION_STATUS_COMPLETED) {
		merr_clear(&m->error);
		merr_clear(&err);
	}
	migration_finish(m, status, &err);
}

/* ---- successors ---- */

static void on_successor_started(struct migration *m, const struct merr *err)
{
	if (!err) {
		const char *does = m->mode == WORKER_MODE_ABORT ? "tells the other side"
								: "settles the handover";

		log_notice("a successor of the lost worker %s guest='%s' mig=%s", does,
			   m->guest->name, m->id);
		m->orphaned = false;
		record_event(m, RECORD_EVENT_KIND_WORKER, "a successor %s", does);
		return;
	}
	log_err("cannot start a successor of a lost worker, trying again guest='%s' mig=%s: %s",
		m->guest->name, m->id, merr_msg(err));
	m->lost_ns = clock_now_ns();
	look_again(m, LOOK_AGAIN_MS);
}

static void on_relistening(void *opaque, int fd, const struct merr *err)
{
	struct migration *m = opaque;

	m->dial = NULL;
	if (fd < 0) {
		start_failed(m, err);
		return;
	}
	m->listen_fd = fd;
	start_worker(m);
}

/* The file again, if another daemon opened it first: each time anew, for it may be the wrong one by now. */
static void reopen(struct migration *m)
{
	struct merr err = MERR_INIT;

	m->reopened |= m->stream_fd < 0;
	if (m->stream_fd >= 0 || stream_open(m, NULL, &err) == 0) {
		start_worker(m);
		return;
	}
	merr_clear(&m->error);
	migration_note_error(m, merr_msg(&err));
	start_failed(m, &err);
}

/* The source chose it; a journal from before it came does not have it, the library does. */
static void learn_handover_id(struct migration *m)
{
	uint8_t id[ATTACH_ID_LEN];

	if (m->direction == WORKER_DIRECTION_INCOMING && migration_phase(m) != HANDOVER_PHASE_EMPTY) {
		(void)guest_handover(m->guest, id);
		handover_id_format(id, m->handover_id);
	}
}

/* Of a target, where its source looks for it. */
static void start_findable(struct migration *m)
{
	if (m->listen_fd >= 0 || !addr_is_network(&m->addr)) {
		start_worker(m); /* without a place to be found at, an operator's word is all */
		return;
	}
	m->dial = dial_listen(m->guest->daemon->base,
			      m->has_listen_addr ? &m->listen_addr : &m->addr, on_relistening, m);
	if (!m->dial)
		m->on_started = NULL; /* out of memory: settle_check() comes again */
}

static void start_successor(struct migration *m)
{
	enum handover_phase phase = migration_phase(m);

	learn_handover_id(m);
	m->mode = WORKER_MODE_SETTLE;
	m->on_started = on_successor_started;
	/* It may have been lost before it said so. */
	if (m->lazy)
		migration_enter_postcopy(m);
	/* The outcome is known here, only the peer has to hear it. But where there may be post-copy, the successor tells. */
	if (phase == HANDOVER_PHASE_RUNNING && !migration_in_postcopy(m) &&
	    !m->guest->capabilities[MIGRATION_CAPABILITY_POSTCOPY_RAM])
		(void)migration_set_status(m, MIGRATION_STATUS_COMPLETED);
	if (m->direction == WORKER_DIRECTION_OUTGOING) {
		migration_set_handover(m, m->handover_id, HANDOVER_PHASE_RELEASED, NULL, true);
		start_worker(m); /* it asks for a connection */
	} else if (m->lazy) {
		reopen(m);
	} else {
		start_findable(m);
	}
}

/* The first at once, then ever more slowly: what killed one may kill the next. */
static uint64_t successor_delay_ns(const struct migration *m)
{
	uint64_t ms = LOOK_AGAIN_MS;

	if (m->n_successors == 0)
		return 0;
	for (unsigned int n = m->n_successors; n > 1 && ms < SUCCESSOR_DELAY_MAX_MS; n--)
		ms *= 2;
	return ms * NS_PER_MS;
}

static void succeed(struct migration *m, void (*start)(struct migration *m))
{
	if (clock_now_ns() < m->lost_ns + successor_delay_ns(m)) {
		look_again(m, LOOK_AGAIN_MS / 4);
		return;
	}
	m->n_successors++;
	start(m);
}

static void start_teller(struct migration *m)
{
	m->on_started = on_successor_started;
	if (m->direction == WORKER_DIRECTION_OUTGOING)
		start_worker(m); /* it asks for a connection */
	else
		start_findable(m);
}

/* To whoever asks it is over, for ERR; the peer is told apart from that, and the VMM is not needed. */
static void tell(struct migration *m, const struct merr *err)
{
	if (m->mode != WORKER_MODE_ABORT) {
		learn_handover_id(m);
		m->mode = WORKER_MODE_ABORT;
		migration_end(m, MIGRATION_STATUS_FAILED, err);
	}
	if (m->n_successors < TELLERS_MAX)
		succeed(m, start_teller);
	else
		migration_finish(m, MIGRATION_STATUS_FAILED, err);
}

/* ---- the VMM is not attached ---- */

/* It will not come back, and with it went all that could run the guest here. */
static void on_vmm_gone(struct migration *m)
{
	enum handover_phase phase = migration_phase(m);
	struct merr err = MERR_INIT;
	bool runs = phase == HANDOVER_PHASE_RUNNING && m->direction == WORKER_DIRECTION_INCOMING;

	if (phase == HANDOVER_PHASE_RETIRED || (runs && !migration_in_postcopy(m))) {
		finish(m, MIGRATION_STATUS_COMPLETED);
		return;
	}
	/* That the connection, or a worker, was lost before says less. */
	if (migration_in_postcopy(m))
		merr_clear(&m->error);
	if (runs)
		(void)merr_set(&err, -EIO,
			       "the VMM of guest '%s' ended here before all of the guest's memory had come from the source",
			       m->guest->name);
	else if (phase == HANDOVER_PHASE_RELEASED && migration_in_postcopy(m))
		(void)merr_set(&err, -EIO,
			       "the VMM of guest '%s' and the migration's worker ended before all memory was sent to %s: what was "
			       "not sent is lost. The guest runs there, and stops where it needs one of those pages: end it there",
			       m->guest->name, m->peer);
	else if (phase == HANDOVER_PHASE_RELEASED)
		(void)merr_set(&err, -EIO,
			       "the VMM of guest '%s' ended after it had released the guest to %s: "
			       "it can only run "
			       "there",
			       m->guest->name, m->peer);
	else
		(void)merr_set(&err, -EIO, "the VMM of guest '%s' ended", m->guest->name);
	/* A target that was not activated never will be; what a source's guest was is to be decided
	 * by whoever has the rest. */
	if (m->direction == WORKER_DIRECTION_INCOMING && !runs && can_tell(m))
		tell(m, &err);
	else
		migration_finish(m, MIGRATION_STATUS_FAILED, &err);
}

static void await_vmm(struct migration *m)
{
	if (process_lives(m->guest->pid, m->guest->pid_start_time))
		look_again(m, LOOK_AGAIN_MS);
	else
		on_vmm_gone(m);
}

/* ---- what to do next ---- */

static void await_rollback(struct migration *m)
{
	if (clock_now_ns() < m->lost_ns + ROLLBACK_PATIENCE_MS * NS_PER_MS) {
		look_again(m, LOOK_AGAIN_MS);
		return;
	}
	log_err("the VMM did not say that it rolled back guest='%s' mig=%s", m->guest->name, m->id);
	finish(m, MIGRATION_STATUS_FAILED);
}

static void tell_of_loss(struct migration *m)
{
	struct merr err = MERR_INIT;

	(void)merr_set(&err, -EIO, worker_lost);
	tell(m, &err);
}

static void act(struct migration *m)
{
	switch (choose(m)) {
	case ACTION_WAIT:
		await_rollback(m);
		return;
	case ACTION_FAILED:
		finish(m, MIGRATION_STATUS_FAILED);
		return;
	case ACTION_COMPLETED:
		finish(m, MIGRATION_STATUS_COMPLETED);
		return;
	case ACTION_SUCCEED:
		succeed(m, start_successor);
		return;
	case ACTION_TELL:
		tell_of_loss(m);
		return;
	}
}

/* A worker was on its way to be started: without the VMM it will not be. */
static void abandon_start(struct migration *m)
{
	struct merr err = MERR_INIT;

	m->cpr = cpr_cancel(m->cpr);
	m->dial = dial_cancel(m->dial);
	m->timer = timer_free(m->timer);
	(void)merr_set(&err, -ENOTCONN, "the VMM of guest '%s' is gone", m->guest->name);
	start_failed(m, &err);
}

void settle_check(struct migration *m)
{
	bool attached = guest_attached(m->guest);

	if (m->waits && m->direction == WORKER_DIRECTION_OUTGOING) {
		if (attached)
			queue_review(m->guest->daemon);
		else
			await_vmm(m);
		return;
	}
	if (m->on_started) {
		if (!attached && m->mode != WORKER_MODE_ABORT)
			abandon_start(m);
		return;
	}
	if (!m->orphaned || m->worker)
		return;
	if (attached || m->mode == WORKER_MODE_ABORT)
		act(m);
	else
		await_vmm(m);
}

static void on_timer(evutil_socket_t fd, short what, void *opaque)
{
	struct migration *m = opaque;

	(void)fd;
	(void)what;
	m->timer = timer_free(m->timer);
	if (m->adopting && m->worker)
		worker_kill(m->worker, "it did not answer this daemon");
	else
		settle_check(m);
}

/* It may have been the one to answer a source that asks, or to tell the target. */
static bool is_missed(const struct migration *m)
{
	return migration_running(m) || m->mode == WORKER_MODE_ABORT ||
	       (m->direction == WORKER_DIRECTION_INCOMING && m->peer_waits);
}

/* In post-copy its successor goes on. */
static void note_loss(struct migration *m, const char *how)
{
	enum handover_phase phase = migration_phase(m);

	if (migration_in_postcopy(m) && (phase == HANDOVER_PHASE_RELEASED || phase == HANDOVER_PHASE_RUNNING)) {
		merr_clear(&m->error);
		(void)migration_set_status(m, MIGRATION_STATUS_POSTCOPY_PAUSED);
	}
	migration_note_error(m, how);
}

void settle_worker_exited(struct migration *m, const char *how)
{
	m->worker = worker_free(m->worker);
	m->dial = dial_cancel(m->dial);
	recovery_abandon(m);
	m->timer = timer_free(m->timer);
	m->adopting = false;
	log_event(LOG_EVENT_WORKER_DIED, LOG_ERR, "%s guest='%s' mig=%s", how, m->guest->name, m->id);
	record_event(m, RECORD_EVENT_KIND_WORKER, "%s", how);
	if (!is_missed(m)) {
		migration_retire(m);
		return;
	}
	/* What the library said until now decides. */
	guest_drain(m->guest);
	if (migration_running(m))
		note_loss(m, how);
	m->orphaned = true;
	m->lost_ns = clock_now_ns();
	queue_review(m->guest->daemon);
	settle_check(m);
}

void settle_expect_adopt(struct migration *m)
{
	look_again(m, ADOPT_PATIENCE_MS);
}

void settle_dismiss_worker(struct migration *m)
{
	m->worker = worker_dismiss(m->worker);
	migration_retire(m);
}
