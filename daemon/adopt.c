/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over the migrations of a daemon that is gone.
 *
 * Each journal gives a record of its guest, which its VMM fills when it attaches again, and a
 * migration. A worker that lives says the rest by ADOPT. One that does not is dealt with when the
 * VMM is back (daemon/settle.h).
 */
#include "daemon/adopt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attach/handover.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log-events.h"
#include "daemon/daemon.h"
#include "daemon/decisions.h"
#include "daemon/fdstore.h"
#include "daemon/guest.h"
#include "daemon/history.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "daemon/outgoing.h"
#include "daemon/publication.h"
#include "daemon/record.h"
#include "daemon/registry.h"
#include "daemon/settings-store.h"
#include "daemon/settle.h"
#include "daemon/shares.h"
#include "daemon/state-dir.h"
#include "daemon/supervisor.h"
#include "daemon/timer.h"
#include "daemon/tls.h"
#include "daemon/worker.h"

/* What the service manager kept of it. A VMM that attaches again brings its page itself. */
static void take_stored(struct migration *m)
{
	struct guest *g = m->guest;
	int page = fdstore_claim(g->daemon->passed, "decision", m->id);
	int listener = fdstore_claim(g->daemon->passed, "listen", m->id);
	struct merr err = MERR_INIT;

	if (listener >= 0)
		m->listen_fd = listener;
	if (page >= 0 && g->decision_fd >= 0)
		close_fd(page);
	else if (page >= 0 && guest_take_decision(g, page, &err) < 0)
		log_warning("what the service manager kept for a former migd is of no use: %s guest='%s' mig=%s",
			    merr_msg(&err), g->name, m->id);
}

static int migration_from_journal(struct guest *g, const struct journal *j, struct migration **ret,
				  struct merr *err)
{
	enum worker_direction direction =
		j->outgoing ? WORKER_DIRECTION_OUTGOING : WORKER_DIRECTION_INCOMING;
	struct migration *m = NULL;
	struct addr addr;
	int r = addr_parse_uri(j->uri, &addr, err);

	if (r == 0)
		r = migration_new(g, direction, j->uri, &addr, &m, err);
	if (r < 0 || !m)
		return r;
	(void)snprintf(m->id, sizeof(m->id), "%s", j->id);
	(void)snprintf(m->handover_id, sizeof(m->handover_id), "%s", j->handover_id);
	m->return_path = addr.type != ADDR_FILE && addr.type != ADDR_EXEC;
	m->exit_on_error = j->exit_on_error;
	m->allow_weak_handover = j->allow_weak_handover;
	m->priority = j->priority;
	m->start_postcopy = j->start_postcopy;
	m->start_remote = j->start_remote;
	m->addr.to_guest |= j->start_remote;
	m->deadline_ms = j->deadline_ms;
	m->peer_waits = j->peer_waits;
	/* A journal without one, or with one that only a newer migd knows. */
	if (migration_strategy_parse(j->strategy, &m->strategy) < 0)
		m->strategy = MIGRATION_STRATEGY_PRECOPY;
	m->has_listen_addr = j->listen[0] && addr_parse_uri(j->listen, &m->listen_addr, NULL) == 0;
	m->journaled = true;
	take_stored(m);
	if (j->outgoing && addr.type == ADDR_FILE && addr.offset == 0)
		m->publication = publication_find(g->daemon->base, addr.text, m->id);
	/*
	 * A guess until ADOPT; without a worker, the guest's handover decides what becomes of it.
	 */
	m->lazy = j->postcopy && !j->outgoing && addr.type == ADDR_FILE;
	m->status = j->postcopy ? MIGRATION_STATUS_POSTCOPY_PAUSED : MIGRATION_STATUS_ACTIVE;
	history_resume(g->daemon->history, m);
	*ret = m;
	return 0;
}

static int find_worker(struct migration *m, const struct journal *j, struct merr *err)
{
	struct daemon *d = m->guest->daemon;
	const struct worker_place place = { d->cgroups, &d->config.workers, j->id };
	int fd, r = state_dir_worker_connect(d->state, j->id, &fd);

	if (r < 0)
		return merr_set_errno(err, r, "nobody answers on its socket");
	return worker_adopt(d->base, fd, j->worker_pid, j->worker_start_time, &place, &link_handler, m,
			    &m->worker, err);
}

static int find_record(struct registry *r, const struct journal *j, struct guest **ret,
		       struct merr *err)
{
	int res;

	*ret = registry_find(r, j->guest);
	if (*ret)
		return 0;
	res = registry_add(r, j->guest, ret, err);
	if (res < 0)
		return res;
	(*ret)->pid = j->vmm_pid;
	(*ret)->pid_start_time = j->vmm_start_time;
	(*ret)->role = j->outgoing ? 1 : 2;
	return 0;
}

/* It was in the queue: the others are over. */
static int wait_again(struct migration *m, const struct journal *j, struct merr *err)
{
	struct guest *g = m->guest;
	int r = outgoing_restore(m, j->arrival, err);

	/* That daemon ended just when the turn had come: it is begun anew. */
	m->publication = publication_done(m->publication, false);
	if (g->migration)
		TAILQ_INSERT_TAIL(&g->lingering, g->migration, entry);
	g->migration = m;
	if (r < 0)
		migration_finish(m, MIGRATION_STATUS_FAILED, err);
	else
		settle_check(m);
	return 0;
}

static int take_over(struct daemon *d, const struct journal *j, struct merr *err)
{
	struct merr why = MERR_INIT;
	struct migration *m = NULL;
	struct guest *g = NULL;
	int r;

	r = find_record(d->registry, j, &g, err);
	if (r == 0)
		r = migration_from_journal(g, j, &m, err);
	if (r < 0 || !m)
		return r;
	if (j->waits)
		return wait_again(m, j, err);
	/* Which of two is the last one is seen when their workers speak. */
	if (g->migration)
		TAILQ_INSERT_TAIL(&g->lingering, m, entry);
	else
		g->migration = m;
	if (find_worker(m, j, &why) == 0) {
		m->adopting = true;
		settle_expect_adopt(m);
		return 0;
	}
	if (j->outgoing && history_says_completed(d->history, j->id)) {
		m->status = MIGRATION_STATUS_COMPLETED;
		migration_retire(m);
		return 0;
	}
	log_notice("the worker of a former daemon's migration is gone: %s guest='%s' mig=%s",
		   merr_msg(&why), j->guest, j->id);
	m->orphaned = true;
	settle_check(m);
	return 0;
}

static void on_journal(void *opaque, const struct journal *j)
{
	struct daemon *d = opaque;
	struct merr err = MERR_INIT;

	supervisor_still_starting(d->supervisor);
	if (take_over(d, j, &err) < 0)
		log_err("cannot take over a former daemon's migration guest='%s' mig=%s: %s",
			j->guest, j->id, merr_msg(&err));
}

void adopt_all(struct daemon *d)
{
	state_dir_scan(d->state, on_journal, d);
}

static void take_settings(struct guest *g, struct worker_start *s)
{
	migration_parameters_done(&g->parameters);
	g->parameters = s->parameters;
	memset(&s->parameters, 0, sizeof(s->parameters));
	memset(g->capabilities, 0, sizeof(g->capabilities));
	for (size_t i = 0; i < s->n_capabilities; i++)
		g->capabilities[s->capabilities[i]] = true;
}

static int take_stats(struct migration *m, struct conn_msg *msg, struct merr *err)
{
	int fd = conn_msg_take_fd(msg, 0), r;
	struct stats_page *stats;

	r = fd < 0 ? -EBADMSG : stats_page_open(fd, &stats);
	if (r < 0) {
		close_fd(fd);
		return merr_set_errno(err, r,
				      "worker link: ADOPT: its descriptor is no statistics page");
	}
	stats_page_unmap(m->stats);
	close_fd(m->stats_fd);
	m->stats = stats;
	m->stats_fd = fd;
	return 0;
}

static int take_start(struct migration *m, struct worker_start *s, struct merr *err)
{
	if (strcmp(s->id, m->id) != 0 || strcmp(s->guest, m->guest->name) != 0 ||
	    s->direction != m->direction)
		return merr_set(
			err, -EBADMSG,
			"worker link: ADOPT: it is about another migration than its journal");
	m->mode = s->mode;
	m->preflight_only = s->preflight_only;
	m->lazy = s->has_lazy && s->lazy;
	m->share.bps = s->has_share ? s->share : 0;
	tls_adopt(m, s);
	take_settings(m->guest, s);
	m->mig_mode = m->guest->parameters.mode;
	/* What was set since the worker started. */
	settings_load(m->guest, m->guest->pid);
	return 0;
}

/* A guest has one migration that runs, at most; others still tell their peers how they ended. */
static void prefer_running(struct migration *m)
{
	struct guest *g = m->guest;

	if (m == g->migration || !migration_running(m) || migration_running(g->migration))
		return;
	TAILQ_REMOVE(&g->lingering, m, entry);
	TAILQ_INSERT_TAIL(&g->lingering, g->migration, entry);
	g->migration = m;
}

/* Nothing is told: to whoever asks, it was so all along. A cancel may have been faster than ADOPT. */
static void take_status(struct migration *m, enum migration_status status)
{
	bool cancelling = m->status == MIGRATION_STATUS_CANCELLING;

	m->status = status;
	if (cancelling && migration_running(m))
		m->status = MIGRATION_STATUS_CANCELLING;
}

int adopt_on_message(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err)
{
	struct worker_adopt a;
	int r;

	if (!m->adopting)
		return merr_set(err, -EBADMSG, "worker link: ADOPT was not asked for");
	r = worker_adopt_from_json(body, &a, err);
	if (r < 0)
		return merr_prefix(err, "worker link: ADOPT");
	FAULT_POINT("link.adopt-received");
	r = take_start(m, &a.start, err);
	if (r == 0)
		r = take_stats(m, msg, err);
	if (r == 0) {
		m->adopting = false;
		m->timer = timer_free(m->timer);
		take_status(m, a.state.status);
		if (!migration_running(m) && a.state.has_error_desc)
			migration_note_error(m, a.state.error_desc);
		decisions_adopt(m, &a);
		log_event(
			LOG_EVENT_MIGRATION_TAKEN_OVER, LOG_NOTICE,
			"took over a former daemon's migration guest='%s' mig=%s pid=%d status=%s",
			m->guest->name, m->id, worker_pid(m->worker),
			migration_status_str(m->status));
		prefer_running(m);
		record_adopted(m, &a);
		shares_rejoin(m);
		r = link_apply_state(m, &a.state, err);
	}
	worker_adopt_done(&a);
	return r;
}
