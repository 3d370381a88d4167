/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's migration: its states, its error, its handover. */
#include "daemon/migration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "attach/handover.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log-events.h"
#include "daemon/announce.h"
#include "daemon/cancel.h"
#include "daemon/cpr.h"
#include "daemon/daemon.h"
#include "daemon/decisions.h"
#include "daemon/dial.h"
#include "daemon/evacuation.h"
#include "daemon/foretell.h"
#include "daemon/guest.h"
#include "daemon/history.h"
#include "daemon/incoming.h"
#include "daemon/journal.h"
#include "daemon/preflight.h"
#include "daemon/publication.h"
#include "daemon/queue.h"
#include "daemon/record.h"
#include "daemon/recovery.h"
#include "daemon/settle.h"
#include "daemon/supervisor.h"
#include "daemon/timer.h"
#include "daemon/tls.h"
#include "daemon/worker.h"
#include "schema/events.h"

/*
 * The library's states and the schema's are the same, in the same order: one is cast to the other.
 */
_Static_assert((int)HANDOVER_RUNNING == (int)HANDOVER_PHASE_RUNNING &&
		       (int)HANDOVER_PRECOPY == (int)HANDOVER_PHASE_PRECOPY &&
		       (int)HANDOVER_PAUSED == (int)HANDOVER_PHASE_PAUSED &&
		       (int)HANDOVER_RELEASED == (int)HANDOVER_PHASE_RELEASED &&
		       (int)HANDOVER_RETIRED == (int)HANDOVER_PHASE_RETIRED &&
		       (int)HANDOVER_EMPTY == (int)HANDOVER_PHASE_EMPTY &&
		       (int)HANDOVER_INCOMING == (int)HANDOVER_PHASE_INCOMING &&
		       (int)HANDOVER_LOADED == (int)HANDOVER_PHASE_LOADED &&
		       (int)HANDOVER_DISCARDED == (int)HANDOVER_PHASE_DISCARDED &&
		       (int)HANDOVER_N_STATES == (int)HANDOVER_PHASE__MAX,
	       "attach/handover.h and schema/handover.json name the same states");

#define TO(state) (1U << MIGRATION_STATUS_##state)

/* The moves there are (QMP.md 5). A new migration begins at `none`. */
static const uint32_t legal_moves[MIGRATION_STATUS__MAX] = {
	[MIGRATION_STATUS_NONE] = TO(SETUP),
	/* To none: a preflight alone. */
	[MIGRATION_STATUS_SETUP] =
		TO(ACTIVE) | TO(FAILED) | TO(CANCELLING) | TO(COMPLETED) | TO(DEVICE) |
		TO(WAIT_UNPLUG) | TO(NONE),
	[MIGRATION_STATUS_WAIT_UNPLUG] = TO(ACTIVE) | TO(FAILED) | TO(CANCELLING),
	[MIGRATION_STATUS_ACTIVE] =
		TO(PRE_SWITCHOVER) | TO(DEVICE) | TO(COMPLETED) | TO(FAILED) | TO(CANCELLING) |
		TO(POSTCOPY_DEVICE) | TO(POSTCOPY_ACTIVE),
	/* cpr-exec: it could not be executed. */
	[MIGRATION_STATUS_COMPLETED] = TO(FAILED),
	[MIGRATION_STATUS_PRE_SWITCHOVER] = TO(DEVICE) | TO(FAILED) | TO(CANCELLING),
	[MIGRATION_STATUS_DEVICE] = TO(COMPLETED) | TO(FAILED) | TO(CANCELLING) |
				    TO(POSTCOPY_DEVICE) | TO(POSTCOPY_ACTIVE),
	/* The target has not been told to run yet: it can be taken back, or turn out to have been lost at just that moment. */
	[MIGRATION_STATUS_POSTCOPY_DEVICE] =
		TO(POSTCOPY_ACTIVE) | TO(POSTCOPY_PAUSED) | TO(COMPLETED) | TO(FAILED) | TO(CANCELLING),
	[MIGRATION_STATUS_POSTCOPY_ACTIVE] = TO(POSTCOPY_PAUSED) | TO(COMPLETED) | TO(FAILED),
	/* Who reconnects may learn that nothing is missing any more. */
	[MIGRATION_STATUS_POSTCOPY_PAUSED] =
		TO(POSTCOPY_RECOVER_SETUP) | TO(POSTCOPY_RECOVER) | TO(COMPLETED) | TO(FAILED),
	[MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP] =
		TO(POSTCOPY_RECOVER) | TO(POSTCOPY_PAUSED) | TO(COMPLETED) | TO(FAILED),
	[MIGRATION_STATUS_POSTCOPY_RECOVER] =
		TO(POSTCOPY_ACTIVE) | TO(POSTCOPY_PAUSED) | TO(COMPLETED) | TO(FAILED),
	/* A cancel that came too late is overtaken by the truth. */
	[MIGRATION_STATUS_CANCELLING] = TO(CANCELLED) | TO(COMPLETED) | TO(FAILED) |
					TO(POSTCOPY_ACTIVE) | TO(POSTCOPY_PAUSED),
};

#define ENDED       (TO(COMPLETED) | TO(FAILED) | TO(CANCELLED))
#define NOT_RUNNING (ENDED | TO(NONE))
#define POSTCOPY                                                                            \
	(TO(POSTCOPY_DEVICE) | TO(POSTCOPY_ACTIVE) | TO(POSTCOPY_PAUSED) |                  \
	 TO(POSTCOPY_RECOVER_SETUP) | TO(POSTCOPY_RECOVER))

void migration_log_scope(struct log_scope *s, const struct migration *m)
{
	guest_log_scope(s, m->guest);
	log_scope_add(s, "MIGD_MIGRATION", m->id);
	log_scope_add(s, "MIGD_DIRECTION", m->direction == WORKER_DIRECTION_OUTGOING ? "outgoing" : "incoming");
}

static bool status_in(const struct migration *m, uint32_t set)
{
	return (set >> m->status & 1) != 0;
}

bool migration_running(const struct migration *m)
{
	return m && !status_in(m, NOT_RUNNING);
}

bool migration_is_postcopy(enum migration_status status)
{
	return (POSTCOPY >> status & 1) != 0;
}

bool migration_in_postcopy(const struct migration *m)
{
	return m && migration_is_postcopy(m->status);
}

bool migration_takes_status(const struct migration *m, enum migration_status status)
{
	return migration_running(m) ||
	       (m->mig_mode == MIG_MODE_CPR_EXEC && m->direction == WORKER_DIRECTION_OUTGOING &&
		m->status == MIGRATION_STATUS_COMPLETED && status == MIGRATION_STATUS_FAILED);
}

bool migration_settled(const struct migration *m)
{
	return status_in(m, ENDED) && !m->worker && !m->orphaned;
}

static int new_id(char ret[ID_TEXT_LEN])
{
	uint8_t id[ATTACH_ID_LEN];

	if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return -EIO;
	handover_id_format(id, ret);
	return 0;
}

int migration_new(struct guest *g, enum worker_direction direction, const char *uri,
		  const struct addr *addr, struct migration **ret, struct merr *err)
{
	struct migration *m = calloc(1, sizeof(*m));
	int r = -ENOMEM;

	if (!m)
		return merr_set(err, -ENOMEM, "out of memory");
	m->guest = g;
	m->direction = direction;
	m->mode = WORKER_MODE_FRESH;
	m->mig_mode = g->parameters.mode;
	m->status = MIGRATION_STATUS_NONE;
	m->strategy = MIGRATION_STRATEGY_PRECOPY;
	m->addr = *addr;
	m->return_path = true;
	m->stats_fd = m->stream_fd = m->direct_fd = m->library_fd = m->listen_fd = -1;
	m->uri = strdup(uri);
	m->peer = strdup(direction == WORKER_DIRECTION_OUTGOING ? uri : "");
	memset(m->handover_id, '0', sizeof(m->handover_id) - 1);
	if (m->uri && m->peer)
		r = new_id(m->id);
	if (r == 0 && direction == WORKER_DIRECTION_OUTGOING)
		r = new_id(m->handover_id);
	if (r == 0)
		r = stats_page_create(&m->stats, &m->stats_fd);
	if (r < 0) {
		(void)migration_free(m);
		return merr_set_errno(err, r, "cannot set up a migration of guest '%s'", g->name);
	}
	stats_set(m->stats, start_ns, clock_now_ns());
	*ret = m;
	return 0;
}

/* What was written stays if it is a whole stream, or may still become one. */
static bool is_written_for_nothing(const struct migration *m)
{
	return m->direction == WORKER_DIRECTION_OUTGOING &&
	       status_in(m, TO(FAILED) | TO(CANCELLED) | TO(NONE));
}

void migration_release(struct migration *m)
{
	guest_forget_requests(m->guest, m);
	m->timer = timer_free(m->timer);
	m->cpr = cpr_cancel(m->cpr);
	m->foretelling = foretell_cancel(m->foretelling);
	m->dial = dial_cancel(m->dial);
	recovery_abandon(m);
	m->stream_fd = close_fd(m->stream_fd);
	m->direct_fd = close_fd(m->direct_fd);
	m->library_fd = close_fd(m->library_fd);
	/* Otherwise the next daemon goes on with it. */
	if (!m->worker && !migration_running(m))
		incoming_forget_address(m);
	m->listen_fd = close_fd(m->listen_fd);
	m->publication = publication_done(m->publication, !is_written_for_nothing(m));
	if (m->journaled)
		journal_forget(m);
	m->journaled = false;
	m->waits = false;
}

static void tell_not_armed(struct migration *m)
{
	struct merr err = MERR_INIT;

	if (!m->on_armed)
		return;
	(void)merr_set(&err, -ECANCELED, "Guest '%s' is gone", m->guest->name);
	m->call = NULL;
	TAKE_PTR(m->on_armed)(m->on_armed_opaque, &err);
}

/* The daemon ends, and the next one goes on with it; or the last attempt to write it failed. */
static void leave_record(struct migration *m)
{
	struct history *h = m->guest->daemon->history;

	if (m->record && migration_settled(m))
		history_end(h, m);
	else if (m->record)
		history_save(h, m);
	m->record = record_free(m->record);
}

struct migration *migration_free(struct migration *m)
{
	if (!m)
		return NULL;
	leave_record(m);
	tell_not_armed(m);
	/* The daemon ends: the worker and its journal stay for the next one. */
	if (!migration_settled(m))
		m->journaled = false;
	migration_release(m);
	m->worker = worker_free(m->worker);
	if (m->stats)
		stats_page_unmap(m->stats);
	close_fd(m->stats_fd);
	(void)tls_free(m->tls);
	decisions_forget(m);
	free(m->peer);
	free(m->uri);
	free(m);
	return NULL;
}

void migration_install(struct guest *g, struct migration *m)
{
	struct migration *last = g->migration;

	if (m)
		preflight_forget(g);

	if (last && (last->worker || last->orphaned))
		TAILQ_INSERT_TAIL(&g->lingering, last, entry);
	else
		(void)migration_free(last);
	g->migration = m;
}

void migration_retire(struct migration *m)
{
	struct guest *g = m->guest;

	history_end(g->daemon->history, m);
	migration_release(m);
	if (m != g->migration) {
		TAILQ_REMOVE(&g->lingering, m, entry);
		(void)migration_free(m);
	}
	guest_review(g);
}

/* What of them is for programs that read the journal. */
static const char *const status_events[MIGRATION_STATUS__MAX] = {
	[MIGRATION_STATUS_SETUP] = LOG_EVENT_MIGRATION_STARTED,
	[MIGRATION_STATUS_COMPLETED] = LOG_EVENT_MIGRATION_COMPLETED,
	[MIGRATION_STATUS_FAILED] = LOG_EVENT_MIGRATION_FAILED,
	[MIGRATION_STATUS_CANCELLED] = LOG_EVENT_MIGRATION_CANCELLED,
	[MIGRATION_STATUS_POSTCOPY_PAUSED] = LOG_EVENT_MIGRATION_PAUSED,
};

static void tell_status(const struct migration *m, enum migration_status before)
{
	struct guest *g = m->guest;
	_log_scope_ struct log_scope scope;

	migration_log_scope(&scope, m);
	if (merr_is_set(&m->error) && status_in(m, ENDED))
		log_event(status_events[m->status], LOG_NOTICE, "migration status %s, was %s: %s guest='%s' mig=%s peer='%s'",
			  migration_status_str(m->status), migration_status_str(before),
			   merr_msg(&m->error), g->name, m->id, m->uri);
	else
		log_event(status_events[m->status], LOG_INFO, "migration status %s, was %s guest='%s' mig=%s peer='%s'",
			  migration_status_str(m->status), migration_status_str(before), g->name,
			 m->id, m->uri);
	if (g->capabilities[MIGRATION_CAPABILITY_EVENTS])
		event_migration(g->daemon->qmp, g->name, m->status);
	FAULT_POINT("qmp.status-told");
}

/*
 * QEMU ends when an incoming migration fails and exit-on-error is true; here the guest is given up,
 * and with it its VMM ends. If it had begun to arrive, its library has done so already.
 */
static void end_failed_guest(const struct migration *m)
{
	struct merr err = MERR_INIT;

	if (m->status != MIGRATION_STATUS_FAILED || !m->exit_on_error)
		return;
	log_notice("dropping a guest, since its incoming migration failed and exit-on-error is "
		   "true guest='%s'",
		   m->guest->name);
	if (guest_request(m->guest, ATTACH_DISCARD, NULL, 0, NULL, 0, 10000, NULL, NULL,
			  &err) < 0)
		log_debug("%s", merr_msg(&err));
}

/* The guest runs here from now on. */
static bool has_arrived(const struct migration *m, enum migration_status before)
{
	if (m->direction != WORKER_DIRECTION_INCOMING)
		return false;
	if (m->status == MIGRATION_STATUS_POSTCOPY_ACTIVE)
		return before == MIGRATION_STATUS_POSTCOPY_DEVICE;
	return m->status == MIGRATION_STATUS_COMPLETED && stats_get(m->stats, postcopied) == 0;
}

/* Whoever comes after this daemon, and finds no worker, has to know. */
static void note_in_journal(struct migration *m)
{
	struct merr err = MERR_INIT;

	if (m->journaled && journal_write(m, &err) < 0)
		log_err("%s guest='%s' mig=%s", merr_msg(&err), m->guest->name, m->id);
}

int migration_set_status(struct migration *m, enum migration_status status)
{
	enum migration_status before = m->status;

	if (status == before)
		return 0;
	if (status <= MIGRATION_STATUS__INVALID || status >= MIGRATION_STATUS__MAX ||
	    !(legal_moves[before] >> status & 1))
		return -EINVAL;
	if (status == MIGRATION_STATUS_NONE && !m->preflight_only)
		return -EINVAL;
	m->status = status;
	if (migration_in_postcopy(m) && !migration_is_postcopy(before))
		note_in_journal(m);
	if (status_in(m, ENDED) && stats_get(m->stats, end_ns) == 0)
		stats_set(m->stats, end_ns, clock_now_ns());
	if (status_in(m, ENDED) && !(ENDED >> before & 1))
		metrics_migration_ended(m);
	if (has_arrived(m, before))
		announce_arrival(m->guest);
	tell_status(m, before);
	supervisor_changed(m->guest->daemon->supervisor);
	record_status(m);
	queue_review(m->guest->daemon);
	evacuation_review(m->guest->daemon);
	end_failed_guest(m);
	return 0;
}

void migration_enter_postcopy(struct migration *m)
{
	if (migration_in_postcopy(m))
		return;
	if (m->status == MIGRATION_STATUS_SETUP)
		(void)migration_set_status(m, MIGRATION_STATUS_ACTIVE);
	if (m->status == MIGRATION_STATUS_PRE_SWITCHOVER)
		(void)migration_set_status(m, MIGRATION_STATUS_DEVICE);
	(void)migration_set_status(m, MIGRATION_STATUS_POSTCOPY_DEVICE);
}

void migration_note_peer_waits(struct migration *m, bool waits)
{
	if (m->peer_waits == waits)
		return;
	m->peer_waits = waits;
	note_in_journal(m);
}

void migration_note_error(struct migration *m, const char *text)
{
	(void)merr_set(&m->error, -EIO, "%s", text);
}

void migration_end(struct migration *m, enum migration_status status, const struct merr *err)
{
	if (migration_running(m))
		(void)merr_copy(&m->error, err);
	if (m->status == MIGRATION_STATUS_CANCELLING && status == MIGRATION_STATUS_FAILED)
		status = MIGRATION_STATUS_CANCELLED;
	if (m->in_doubt)
		migration_set_handover(m, m->handover_id, migration_phase(m), NULL, false);
	(void)migration_set_status(m, status);
}

void migration_finish(struct migration *m, enum migration_status status, const struct merr *err)
{
	m->orphaned = false;
	m->worker = worker_free(m->worker);
	migration_end(m, status, err);
	migration_retire(m);
}

/* ---- handover ---- */

static void tell_handover(const struct migration *m)
{
	struct handover_info info = {
		.id = (char *)(uintptr_t)m->handover_id,
		.state = m->phase,
		.peer = m->peer,
		.in_doubt = m->in_doubt,
	};

	event_migration_handover(m->guest->daemon->qmp, m->guest->name, &info);
	FAULT_POINT("qmp.handover-told");
}

void migration_set_handover(struct migration *m, const char *id, enum handover_phase phase,
			    const char *peer, bool in_doubt)
{
	_log_scope_ struct log_scope scope;
	struct guest *g = m->guest;
	char *copy;

	migration_log_scope(&scope, m);
	if (phase == HANDOVER_PHASE_LOADED)
		migration_note_peer_waits(m, true);
	if (m->has_handover && m->phase == phase && m->in_doubt == in_doubt &&
	    strcmp(m->handover_id, id) == 0)
		return;
	if (peer && strcmp(peer, m->peer) != 0) {
		copy = strdup(peer);
		if (copy) {
			free(m->peer);
			m->peer = copy;
		}
	}
	m->has_handover = true;
	m->phase = phase;
	m->in_doubt = in_doubt;
	memmove(m->handover_id, id, sizeof(m->handover_id));
	m->handover_id[sizeof(m->handover_id) - 1] = '\0';
	log_event(in_doubt ? LOG_EVENT_HANDOVER_IN_DOUBT : NULL, in_doubt ? LOG_WARNING : LOG_INFO,
		  "handover %s%s guest='%s' mig=%s handover=%s peer='%s'", handover_phase_str(phase), in_doubt ? ", in doubt" : "", g->name, m->id, m->handover_id, m->peer);
	tell_handover(m);
	supervisor_changed(g->daemon->supervisor);
	record_handover(m);
	queue_review(g->daemon);
}

int migration_handover_info(const struct migration *m, struct handover_info *ret)
{
	struct handover_info info = { 0 };

	if (!m->has_handover)
		return -ENOENT;
	info.id = strdup(m->handover_id);
	info.peer = strdup(m->peer);
	info.state = m->phase;
	info.in_doubt = m->in_doubt;
	if (!info.id || !info.peer) {
		handover_info_done(&info);
		return -ENOMEM;
	}
	*ret = info;
	return 0;
}

static bool is_unknown_id(const char *text)
{
	return text[strspn(text, "0")] == '\0';
}

enum handover_phase migration_phase(const struct migration *m)
{
	uint8_t id[ATTACH_ID_LEN], state = guest_handover(m->guest, id);
	char text[ID_TEXT_LEN];

	handover_id_format(id, text);
	if (m->direction == WORKER_DIRECTION_OUTGOING && strcmp(text, m->handover_id) != 0)
		return HANDOVER_PHASE_RUNNING;
	if (m->direction == WORKER_DIRECTION_INCOMING && !is_unknown_id(m->handover_id) &&
	    strcmp(text, m->handover_id) != 0)
		return HANDOVER_PHASE_EMPTY;
	return (enum handover_phase)state;
}

void migration_guest_changed(struct guest *g)
{
	struct migration *m = g->migration, *next;

	if (m && guest_handover(g, NULL) == HANDOVER_LOADED &&
	    m->direction == WORKER_DIRECTION_INCOMING)
		migration_note_peer_waits(m, true);
	if (m && m->worker && !guest_attached(g))
		cancel_without_vmm(m);
	if (m)
		settle_check(m);
	for (m = TAILQ_FIRST(&g->lingering); m; m = next) {
		next = TAILQ_NEXT(m, entry);
		settle_check(m);
	}
}
