/* SPDX-License-Identifier: Apache-2.0 */
/* `migrate`: from an address to a worker with a connection. */
#include "daemon/outgoing.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "daemon/cpr.h"
#include "daemon/daemon.h"
#include "daemon/foretell.h"
#include "daemon/greet.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/peer.h"
#include "daemon/queue.h"
#include "daemon/record.h"
#include "daemon/start.h"
#include "daemon/stream.h"
#include "daemon/timer.h"
#include "daemon/tls.h"

static int check_run_state(const struct guest *g, struct merr *err)
{
	switch (guest_run_state(g)) {
	case RUN_STATE_INMIGRATE:
		return merr_set(err, -EBUSY,
				"Guest '%s' is waiting for an incoming migration; it can be "
				"migrated away once it "
				"runs here",
				g->name);
	case RUN_STATE_POSTMIGRATE:
		return merr_set(
			err, -EBUSY,
			"Guest '%s' was already migrated away%s%s; migrate it from where it runs",
			g->name, g->migration ? " to " : "", g->migration ? g->migration->uri : "");
	default:
		return 0;
	}
}

static int check_handover(const struct guest *g, struct merr *err)
{
	uint8_t phase = guest_handover(g, NULL);

	if (phase != HANDOVER_PHASE_RELEASED && phase != HANDOVER_PHASE_LOADED)
		return 0;
	return merr_set(err, -EBUSY,
			"The last handover of guest '%s' is not finished (%s): wait for the peer, "
			"or decide "
			"with migrate-resolve",
			g->name, handover_phase_str(phase));
}

static int check_idle(const struct guest *g, struct merr *err)
{
	const struct migration *m = g->migration;

	if (m && (migration_running(m) || m->status == MIGRATION_STATUS_NONE))
		return merr_set(err, -EBUSY,
				"There's a migration process in progress of guest '%s' (status "
				"%s); wait for it or "
				"use migrate_cancel",
				g->name, migration_status_str(m->status));
	return 0;
}

static bool is_snapshot(const struct guest *g)
{
	return g->capabilities[MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT];
}

/* What others share changes with the guest, which runs on, and would be of another instant. */
static int check_snapshot(const struct guest *g, struct merr *err)
{
	if (!is_snapshot(g) || !g->capabilities[MIGRATION_CAPABILITY_X_IGNORE_SHARED])
		return 0;
	return merr_set(err, -EINVAL,
			"Capability 'background-snapshot' cannot leave shared memory where it is: turn capability "
			"'x-ignore-shared' off, and all of it becomes part of the image");
}

/* Also when its turn has come. */
static int check_guest(const struct guest *g, struct merr *err)
{
	int r;

	if (!guest_attached(g))
		return merr_set(
			err, -ENOTCONN,
			"The VMM of guest '%s' is not attached: there is nothing to migrate",
			g->name);
	r = check_run_state(g, err);
	if (r == 0)
		r = check_handover(g, err);
	if (r == 0 && g->n_blockers > 0)
		r = merr_set(err, -EPERM, "Guest '%s' cannot be migrated: %s", g->name, g->blockers[0]);
	if (r == 0)
		r = check_snapshot(g, err);
	return r < 0 ? r : cpr_check_guest(g, err);
}

/* At the other end of a socket is most likely somebody who runs what comes. */
static int check_snapshot_way(const struct migration *m, struct merr *err)
{
	if (!is_snapshot(m->guest) || !m->return_path || m->allow_weak_handover)
		return 0;
	return merr_set(err, -EPERM,
			"a background snapshot of guest '%s' to '%s': the guest runs on here, and a destination that "
			"loads it would run it a second time. Save it to a file, a pipe or a command; or allow the copy "
			"with migrate's allow-weak-handover",
			m->guest->name, m->uri);
}

static void on_started(struct migration *m, const struct merr *err)
{
	if (err)
		migration_finish(m, MIGRATION_STATUS_FAILED, err);
}

static void on_connected(void *opaque, int fd, const struct merr *err)
{
	struct migration *m = opaque;
	struct merr own = MERR_INIT;

	m->dial = NULL;
	if (fd >= 0 && greet(m, false, fd, &own) < 0) {
		fd = close_fd(fd);
		err = &own;
	}
	if (fd < 0) {
		start_failed(m, err);
		return;
	}
	record_peer_of(m, fd);
	m->stream_fd = fd;
	start_worker(m);
}

/* cpr-transfer: the new VMM has the memory, and its migd listens. */
static void on_handed(struct migration *m, const struct merr *err)
{
	struct merr own = MERR_INIT;

	m->cpr = NULL;
	if (err) {
		start_failed(m, err);
		return;
	}
	if (m->stream_fd >= 0) {
		start_worker(m);
		return;
	}
	m->dial = peer_dial(m, 0, on_connected);
	if (!m->dial) {
		(void)merr_set(&own, -ENOMEM, "out of memory");
		start_failed(m, &own);
	}
}

/* The destination has a VMM for it, and waits. */
static void on_foretold(struct migration *m, const struct merr *err)
{
	struct merr own = MERR_INIT;

	if (!err) {
		m->dial = peer_dial(m, 0, on_connected);
		if (m->dial)
			return;
		(void)merr_set(&own, -ENOMEM, "out of memory");
		err = &own;
	}
	start_failed(m, err);
}

/* A connection to begin with, an announcement before it, a new VMM that has the memory, or a stream that is there at once. */
static int open_way(struct migration *m, const char *cpr_path, struct qmp_call *call, struct merr *err)
{
	bool network = addr_is_network(&m->addr);
	int r = network || m->stream_fd >= 0 ? 0 : stream_open(m, call, err);

	if (r == 0)
		r = check_snapshot_way(m, err);
	if (r == 0)
		r = tls_prepare(m, err);
	if (r < 0)
		return r;
	if (m->mig_mode == MIG_MODE_CPR_TRANSFER)
		m->cpr = cpr_start(m, cpr_path, on_handed);
	else if (m->start_remote)
		m->foretelling = foretell(m, on_foretold);
	else if (network)
		m->dial = peer_dial(m, 0, on_connected);
	else
		start_worker(m);
	return m->cpr || m->dial || m->foretelling || (!network && m->mig_mode != MIG_MODE_CPR_TRANSFER) ?
		       0 : merr_set(err, -ENOMEM, "out of memory");
}

/* It failed: that is the migration's end, and the command's (QMP.md 2.1). */
static int give_up(struct migration *m, int r, struct merr *err)
{
	m->on_started = NULL;
	migration_finish(m, MIGRATION_STATUS_FAILED, err);
	return r;
}

/*
 * Names of descriptors are this session's, and it may be gone when M's turn comes; files and commands would be open for
 * nothing until then.
 */
static int wait_for_turn(struct migration *m, struct qmp_call *call, struct merr *err)
{
	int r = m->addr.type == ADDR_FD ? stream_open(m, call, err) : 0;

	return r < 0 ? r : queue_enter(m, err);
}

void outgoing_begin(struct migration *m)
{
	struct merr err = MERR_INIT;
	int r = check_guest(m->guest, &err);

	m->timer = timer_free(m->timer);
	/* total-time is the migration's, not the queue's. */
	stats_set(m->stats, start_ns, clock_now_ns());
	if (r == 0)
		r = open_way(m, NULL, NULL, &err);
	if (r < 0)
		(void)give_up(m, r, &err);
}

int outgoing_restore(struct migration *m, uint64_t arrival, struct merr *err)
{
	if (m->addr.type == ADDR_FD)
		return merr_set(err, -ENOTSUP, "descriptor '%s', which was to be migrated to, ended with a former daemon",
				m->addr.text);
	m->on_started = on_started;
	m->status = MIGRATION_STATUS_SETUP;
	queue_restore(m, arrival);
	return 0;
}

/* Only one that can be asked, and asked again, compares without being migrated to. */
static int check_preflight(const struct guest *g, const struct outgoing *o, struct merr *err)
{
	if (!o->preflight_only ||
	    (g->parameters.mode == MIG_MODE_NORMAL && addr_is_network(o->addr)))
		return 0;
	return merr_set(err, -EINVAL,
			"Parameter 'preflight' expects 'first', or mode 'normal' and an address to "
			"connect to: only then can the destination be asked without migrating to it");
}

static int check_start_remote(const struct guest *g, const struct outgoing *o, struct merr *err)
{
	if (!o->start_remote ||
	    (!o->preflight_only && g->parameters.mode == MIG_MODE_NORMAL && addr_is_network(o->addr)))
		return 0;
	return merr_set(err, -EINVAL,
			"Parameter 'start-remote' expects the shared port of another host's migd (tcp:HOST:PORT), mode 'normal', "
			"and a migration: no preflight alone");
}

static int check_strategy(const struct guest *g, const struct outgoing *o, struct merr *err)
{
	if (o->strategy != MIGRATION_STRATEGY_POSTCOPY)
		return 0;
	if (!g->capabilities[MIGRATION_CAPABILITY_POSTCOPY_RAM])
		return merr_set(err, -EINVAL,
				"Parameter 'strategy' 'postcopy' requires capability 'postcopy-ram': turn that on, on "
				"both sides");
	return 0;
}

int outgoing_start(struct guest *g, struct qmp_call *call, const struct outgoing *o,
		   struct merr *err)
{
	struct migration *m;
	bool waits;
	int r = check_idle(g, err);

	if (r == 0)
		r = check_guest(g, err);
	if (r == 0)
		r = check_preflight(g, o, err);
	if (r == 0)
		r = check_start_remote(g, o, err);
	if (r == 0)
		r = check_strategy(g, o, err);
	if (r < 0)
		return r;
	r = migration_new(g, WORKER_DIRECTION_OUTGOING, o->uri, o->addr, &m, err);
	if (r < 0)
		return r;
	m->on_started = on_started;
	m->preflight_only = o->preflight_only;
	m->start_remote = o->start_remote;
	m->allow_weak_handover = o->allow_weak_handover;
	m->priority = o->priority;
	m->strategy = o->strategy;
	m->deadline_ms = o->deadline_ms;
	if (addr_is_network(&m->addr))
		r = tls_prepare(m, err);
	if (r < 0) {
		(void)migration_free(m);
		return r;
	}
	waits = queue_is_needed(m);
	migration_install(g, m);
	(void)migration_set_status(m, MIGRATION_STATUS_SETUP);
	r = waits ? wait_for_turn(m, call, err) : open_way(m, o->cpr_path, call, err);
	return r < 0 ? give_up(m, r, err) : 0;
}
