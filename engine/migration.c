/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker's two threads share: reports one way, answers and settings the other. */
#include "engine/migration.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/opening.h"
#include "engine/report.h"
#include "transport/sock.h"

/* A daemon that takes longer is not waited for: a guest is. */
#define FLUSH_MS 1000

bool migration_has_capability(const struct migration *m, enum migration_capability c)
{
	for (size_t i = 0; i < m->start.n_capabilities; i++)
		if (m->start.capabilities[i] == c)
			return true;
	return false;
}

/* What of P is set, into the knob of the same name. */
static void apply_throttle(struct throttle_knobs *k, const struct migration_parameters *p)
{
	if (p->has_throttle_trigger_threshold)
		atomic_store(&k->threshold_percent, p->throttle_trigger_threshold);
	if (p->has_cpu_throttle_initial)
		atomic_store(&k->initial_percent, p->cpu_throttle_initial);
	if (p->has_cpu_throttle_increment)
		atomic_store(&k->increment_percent, p->cpu_throttle_increment);
	if (p->has_max_cpu_throttle)
		atomic_store(&k->max_percent, p->max_cpu_throttle);
	if (p->has_cpu_throttle_tailslow)
		atomic_store(&k->tailslow, p->cpu_throttle_tailslow);
	if (p->has_vcpu_dirty_limit)
		atomic_store(&k->vcpu_limit_mib, p->vcpu_dirty_limit);
	if (p->has_x_vcpu_dirty_limit_period)
		atomic_store(&k->vcpu_period_ms, p->x_vcpu_dirty_limit_period);
}

uint64_t migration_offers(const struct migration *m, bool again)
{
	bool passes = !m->start.parameters.has_mode || m->start.parameters.mode == MIG_MODE_NORMAL;

	/* Channels of multifd would have to be opened anew, too: they are not. */
	if (again && passes && atomic_load(&m->reconnect_timeout_ms) > 0 &&
	    !migration_has_capability(m, MIGRATION_CAPABILITY_MULTIFD))
		return HELLO_FEATURES_ALL;
	return HELLO_FEATURES_ALL & ~(uint64_t)HELLO_FEATURE_RESUME;
}

bool migration_has_return_path(const struct migration *m)
{
	/* Whoever gets a snapshot gets a copy: there is nothing to be handed over. */
	if (m->start.direction == WORKER_DIRECTION_OUTGOING &&
	    migration_has_capability(m, MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT))
		return false;
	return !m->start.has_return_path || m->start.return_path;
}

struct configuration migration_configuration(const struct migration *m)
{
	struct configuration c = {
		.ignore_shared = migration_has_capability(m, MIGRATION_CAPABILITY_X_IGNORE_SHARED),
		.mapped_ram = migration_has_capability(m, MIGRATION_CAPABILITY_MAPPED_RAM),
	};

	/* A source says its UUID if it is to be compared; a destination compares whatever came. */
	if (m->start.has_uuid && (m->start.direction == WORKER_DIRECTION_INCOMING ||
				  migration_has_capability(m, MIGRATION_CAPABILITY_VALIDATE_UUID)))
		c.has_uuid = handover_id_parse(m->start.uuid, c.uuid) == 0;
	return c;
}

void migration_apply(struct migration *m, const struct migration_parameters *p)
{
	if (p->has_max_bandwidth)
		atomic_store(&m->rate.limit_bps, p->max_bandwidth);
	if (p->has_max_postcopy_bandwidth)
		atomic_store(&m->background.limit_bps, p->max_postcopy_bandwidth);
	if (p->has_downtime_limit)
		atomic_store(&m->downtime_limit_ms, p->downtime_limit);
	if (p->has_reconnect_timeout)
		atomic_store(&m->reconnect_timeout_ms, p->reconnect_timeout);
	if (p->has_postcopy_reconnect_timeout)
		atomic_store(&m->postcopy_reconnect_timeout_ms, p->postcopy_reconnect_timeout);
	if (p->has_reconnect_backoff_max)
		atomic_store(&m->reconnect_pause_max_ms, p->reconnect_backoff_max);
	if (p->has_xbzrle_cache_size)
		atomic_store(&m->xbzrle_cache_bytes, p->xbzrle_cache_size);
	if (p->has_avail_switchover_bandwidth)
		atomic_store(&m->switchover_bps, p->avail_switchover_bandwidth);
	apply_throttle(&m->throttle, p);
}

void migration_apply_share(struct migration *m, uint64_t bps)
{
	atomic_store(&m->rate.share_bps, bps);
	atomic_store(&m->background.share_bps, bps);
}

struct report report_of(const struct migration *m, enum link_type type)
{
	struct report r = { .type = type,
			    .status = m->status,
			    .error = m->error,
			    .has_handover = m->has_handover,
			    .handover = m->handover,
			    .in_doubt = m->in_doubt,
			    .peer_waits = m->peer_waits,
			    .guest_runs_here = m->guest_runs_here };

	memcpy(r.handover_id, m->handover_id, sizeof(r.handover_id));
	memcpy(r.connected, m->connected, sizeof(r.connected));
	return r;
}

/* Queue a report of the state as it is now. Lock held: until it is released the report is the caller's, too. NULL: no memory. */
static struct report *queue(struct migration *m, enum link_type type, uint64_t number)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r) /* the state itself is kept: the next report tells it */
		return NULL;
	*r = report_of(m, type);
	r->number = number;
	if (m->last)
		m->last->next = r;
	else
		m->first = r;
	m->last = r;
	m->n_reports++;
	wake_raise(m->report_fd);
	return r;
}

void report_status(struct migration *m, enum migration_status status)
{
	LOCK_SCOPE(&m->lock);

	if (status == MIGRATION_STATUS_POSTCOPY_ACTIVE)
		stats_set(m->stats, postcopied, 1);
	m->status = status;
	merr_clear(&m->error);
	(void)queue(m, LINK_STATE, 0);
}

void report_error(struct migration *m, enum migration_status status, const struct merr *err)
{
	LOCK_SCOPE(&m->lock);

	m->status = status;
	m->error = *err;
	(void)queue(m, LINK_STATE, 0);
}

void report_handover(struct migration *m, enum handover_state state, bool in_doubt)
{
	LOCK_SCOPE(&m->lock);

	if (m->has_handover && m->handover == state && m->in_doubt == in_doubt)
		return;
	m->has_handover = true;
	m->handover = state;
	m->in_doubt = in_doubt;
	(void)queue(m, LINK_STATE, 0);
}

void migration_note_source(struct migration *m, int fd)
{
	LOCK_SCOPE(&m->lock);
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0)
		(void)sock_peer_name(fd, m->connected, sizeof(m->connected));
}

void report_peer_waits(struct migration *m)
{
	LOCK_SCOPE(&m->lock);

	m->peer_waits = true;
	(void)queue(m, LINK_STATE, 0);
}

static unsigned int count_reports(struct migration *m)
{
	LOCK_SCOPE(&m->lock);

	return m->n_reports;
}

void migration_flush_reports(struct migration *m)
{
	uint64_t deadline_ns = clock_now_ns() + FLUSH_MS * NS_PER_MS;
	unsigned int n = count_reports(m);

	while ((int)(atomic_load(&m->n_told) - n) < 0 && fd_wait(m->told_fd, POLLIN, -1, deadline_ns) > 0)
		wake_drain(m->told_fd);
}

void migration_note_told(struct migration *m)
{
	atomic_fetch_add(&m->n_told, 1);
	wake_raise(m->told_fd);
}

void report_pass(struct migration *m, const struct pass_begin *pass)
{
	LOCK_SCOPE(&m->lock);
	struct report *r = queue(m, LINK_PASS, 0);

	passes_add(&m->passes, pass);
	if (r)
		r->pass = *pass;
}

void report_decision(struct migration *m, const struct decision *d)
{
	LOCK_SCOPE(&m->lock);
	struct report *r;

	log_info("decision: %s: %s mig=%s pass=%" PRIu64, migration_decision_kind_str(d->kind), d->reason, m->start.id, d->pass);
	decisions_add(&m->decisions, d);
	r = queue(m, LINK_DECISION, 0);
	if (r)
		r->decision = *d;
}

void report_reconnect(struct migration *m, uint64_t attempt, const struct merr *why)
{
	LOCK_SCOPE(&m->lock);

	struct report *r = queue(m, LINK_RECONNECT, attempt);

	if (r)
		r->error = *why;
}

void report_question(struct migration *m)
{
	LOCK_SCOPE(&m->lock);

	(void)queue(m, LINK_SIGN, 0);
}

void report_done(struct migration *m, bool guest_runs_here)
{
	LOCK_SCOPE(&m->lock);

	FAULT_POINT("link.done-reporting");
	m->done = true;
	m->guest_runs_here = guest_runs_here;
	stats_set(m->stats, end_ns, clock_now_ns());
	(void)queue(m, LINK_DONE, 0);
}

void report_preflight(struct migration *m, const struct mismatches *found)
{
	LOCK_SCOPE(&m->lock);

	if (!m->preflight)
		m->preflight = malloc(sizeof(*m->preflight));
	if (!m->preflight)
		return;
	*m->preflight = *found;
	(void)queue(m, LINK_PREFLIGHT, 0);
}

struct report *report_take(struct migration *m)
{
	LOCK_SCOPE(&m->lock);
	struct report *r = m->first;

	if (r) {
		m->first = r->next;
		if (!m->first)
			m->last = NULL;
	}
	return r;
}

/* The answer to CONNECT, if there is one: true, and *ret is the result. */
static bool take_connection(struct migration *m, int *ret, int *ret_fd, struct merr *err)
{
	LOCK_SCOPE(&m->lock);

	if (m->recovery_fd >= 0) {
		*ret_fd = TAKE_FD(m->recovery_fd);
		*ret = 0;
		return true;
	}
	if (!m->connection_answered)
		return false;
	m->connection_answered = false;
	if (m->connection_fd < 0) {
		*ret = merr_copy(err, &m->connection_error);
		return true;
	}
	*ret_fd = TAKE_FD(m->connection_fd);
	*ret = 0;
	return true;
}

/* An answer that came too late for whoever asked goes nowhere. */
static void ask_for_connection(struct migration *m)
{
	LOCK_SCOPE(&m->lock);

	if (m->connection_answered)
		m->connection_fd = close_fd(m->connection_fd);
	m->connection_answered = false;
	atomic_store(&m->wants_connection, true);
	(void)queue(m, LINK_CONNECT, 0);
}

int migration_connect(struct migration *m, int cancel_fd, uint64_t deadline_ns, int *ret_fd, struct merr *err)
{
	int r;

	FAULT_POINT("link.connect-asking");
	ask_for_connection(m);
	for (;;) {
		if (atomic_load(&m->resolve) != RESOLVE_NONE)
			return -ECANCELED;
		if (take_connection(m, &r, ret_fd, err))
			return r;
		r = fd_wait(m->answer_fd, POLLIN, cancel_fd, deadline_ns);
		if (r == -ECANCELED)
			return merr_set(err, r, "cancelled");
		if (r == -ETIMEDOUT)
			return merr_set(err, r, "there is no connection yet");
		wake_drain(m->answer_fd);
	}
}

void migration_answer_connect(struct migration *m, int fd, const struct merr *err)
{
	LOCK_SCOPE(&m->lock);

	if (m->connection_answered)
		(void)close_fd(m->connection_fd);
	atomic_store(&m->wants_connection, false);
	m->connection_answered = true;
	m->connection_fd = fd;
	if (fd < 0)
		m->connection_error = *err;
	wake_raise(m->answer_fd);
}

void migration_recover(struct migration *m, int fd)
{
	LOCK_SCOPE(&m->lock);

	(void)close_fd(m->recovery_fd);
	m->recovery_fd = fd;
	wake_raise(m->answer_fd);
}

int migration_take_recovery(struct migration *m)
{
	LOCK_SCOPE(&m->lock);

	return TAKE_FD(m->recovery_fd);
}

void migration_arrive(struct migration *m, int fd)
{
	LOCK_SCOPE(&m->lock);

	if (m->n_arrivals == ARRIVALS_MAX) {
		(void)close_fd(m->arrivals[0]);
		memmove(m->arrivals, m->arrivals + 1, (ARRIVALS_MAX - 1) * sizeof(m->arrivals[0]));
		m->n_arrivals--;
	}
	m->arrivals[m->n_arrivals++] = fd;
	wake_raise(m->arrival_fd);
}

int migration_take_arrival(struct migration *m)
{
	LOCK_SCOPE(&m->lock);
	int fd;

	if (m->n_arrivals == 0) {
		wake_drain(m->arrival_fd);
		return -1;
	}
	fd = m->arrivals[0];
	m->n_arrivals--;
	memmove(m->arrivals, m->arrivals + 1, m->n_arrivals * sizeof(m->arrivals[0]));
	return fd;
}

/* The answer to PUBLISH, if there is one: true, and *ret is the result. */
static bool take_published(struct migration *m, int *ret, struct merr *err)
{
	LOCK_SCOPE(&m->lock);

	if (!m->publish_answered)
		return false;
	*ret = merr_is_set(&m->publish_error) ? merr_copy(err, &m->publish_error) : 0;
	return true;
}

int migration_publish(struct migration *m, int fd, uint64_t deadline_ns, struct merr *err)
{
	int r;

	if (!atomic_exchange(&m->wants_publish, true)) {
		LOCK_SCOPE(&m->lock);
		m->publish_fd = fd < 0 ? -1 : fd_dup(fd);
		queue(m, LINK_PUBLISH, 0);
	}
	while (!take_published(m, &r, err)) {
		r = fd_wait(m->answer_fd, POLLIN, m->cancel_fd, deadline_ns);
		wake_drain(m->answer_fd);
		if (r == -ECANCELED)
			return merr_set(err, r, "cancelled");
		if (r < 0)
			return -EAGAIN;
	}
	return r;
}

void migration_answer_publish(struct migration *m, const struct merr *err)
{
	LOCK_SCOPE(&m->lock);

	m->publish_answered = true;
	m->publish_error = *err;
	wake_raise(m->answer_fd);
}

static void ask_turn(struct migration *m, uint32_t ticket)
{
	LOCK_SCOPE(&m->lock);

	atomic_store(&m->ticket, ticket);
	(void)queue(m, LINK_ADMIT, ticket);
}

uint32_t migration_ask_turn(struct migration *m)
{
	if (++m->n_tickets == 0)
		m->n_tickets = 1;
	ask_turn(m, m->n_tickets);
	return m->n_tickets;
}

bool migration_has_turn(struct migration *m, uint32_t ticket)
{
	if (atomic_load(&m->admitted) != ticket)
		return false;
	atomic_store(&m->ticket, 0);
	return true;
}

void migration_leave_queue(struct migration *m)
{
	ask_turn(m, 0);
}

void migration_resolve(struct migration *m, enum resolve outcome)
{
	atomic_store(&m->resolve, (int)outcome);
	wake_raise(m->answer_fd);
}
