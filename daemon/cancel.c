/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending a migration that can still be taken back: before RELEASE on the source, before LOADED on
 * the target.
 */
#include "daemon/cancel.h"

#include <errno.h>

#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "daemon/record.h"
#include "daemon/timer.h"
#include "daemon/worker.h"

/* Promised are 100 ms. A worker that does not end a revocable migration within this is stuck. */
#define CANCEL_PATIENCE_MS 5000U

static int check(const struct migration *m, struct merr *err)
{
	if (m->status != MIGRATION_STATUS_POSTCOPY_DEVICE && migration_in_postcopy(m))
		return merr_set(err, -EBUSY,
				"Post-copy is running, cannot cancel: guest '%s' runs on the destination, and needs what is "
				"still on the source. If the connection is lost, migrate-recover there and migrate with "
				"resume here make it go on",
				m->guest->name);
	switch (migration_phase(m)) {
	case HANDOVER_PHASE_RELEASED:
		return merr_set(err, -EBUSY,
				"It is too late to cancel: guest '%s' was released to %s and may "
				"run there; "
				"query-migrate's handover tells, and migrate-resolve decides if "
				"the peer is lost",
				m->guest->name, m->peer);
	case HANDOVER_PHASE_RETIRED:
		return merr_set(err, -EBUSY, "It is too late to cancel: guest '%s' runs on %s",
				m->guest->name, m->peer);
	case HANDOVER_PHASE_LOADED:
		return merr_set(err, -EBUSY,
				"It is too late to cancel here: guest '%s' is loaded, and the "
				"source decides; cancel "
				"there, or use migrate-resolve if the source is lost",
				m->guest->name);
	case HANDOVER_PHASE_RUNNING:
		if (m->direction == WORKER_DIRECTION_OUTGOING)
			return 0;
		return merr_set(err, -EBUSY,
				"It is too late to cancel: guest '%s' runs here already",
				m->guest->name);
	default:
		return 0;
	}
}

static void on_overdue(evutil_socket_t fd, short what, void *opaque)
{
	struct migration *m = opaque;

	(void)fd;
	(void)what;
	m->timer = timer_free(m->timer);
	if (m->worker && migration_running(m) && (m->status == MIGRATION_STATUS_CANCELLING || check(m, NULL) == 0))
		worker_kill(m->worker, "it did not carry out a cancel in time");
}

/* Have what carries M out end it; without that, it ends here, as END. */
static void carry_out(struct migration *m, enum migration_status end)
{
	if (m->worker) {
		link_cancel(m);
		if (!m->timer)
			m->timer = timer_start(m->guest->daemon->base, CANCEL_PATIENCE_MS,
					       on_overdue, m);
	} else if (!m->orphaned) {
		/*
		 * There is no connection yet, and the library has nothing to undo but an unused
		 * channel.
		 */
		m->on_started = NULL;
		migration_finish(m, end, NULL);
	}
}

int cancel_migration(struct migration *m, struct merr *err)
{
	int r;

	if (!migration_running(m) || m->status == MIGRATION_STATUS_CANCELLING)
		return 0;
	r = check(m, err);
	if (r < 0)
		return r;
	(void)merr_set(&m->error, -ECANCELED, "cancelled by migrate_cancel");
	m->error_is_final = true;
	record_event(m, RECORD_EVENT_KIND_COMMAND, "migrate_cancel");
	(void)migration_set_status(m, MIGRATION_STATUS_CANCELLING);
	carry_out(m, MIGRATION_STATUS_CANCELLED);
	return 0;
}

int cancel_as_failed(struct migration *m, struct merr *err)
{
	bool waits = m->direction == WORKER_DIRECTION_INCOMING && m->status == MIGRATION_STATUS_SETUP;
	int r = check(m, err);

	if (r < 0)
		return r;
	if (waits || m->status == MIGRATION_STATUS_CANCELLING || m->error_is_final)
		return 0;
	merr_clear(&m->error);
	(void)merr_set(&m->error, -ECANCELED, "its connections were shut down by yank");
	m->error_is_final = true;
	carry_out(m, MIGRATION_STATUS_FAILED);
	return 0;
}

void cancel_without_vmm(struct migration *m)
{
	enum handover_phase phase = migration_phase(m);

	if (m->direction != WORKER_DIRECTION_INCOMING || !migration_running(m) || m->error_is_final)
		return;
	/* Further on the decision page speaks for the VMM, and the source may ask. */
	if (phase != HANDOVER_PHASE_EMPTY && phase != HANDOVER_PHASE_INCOMING)
		return;
	merr_clear(&m->error);
	(void)merr_set(&m->error, -ENOTCONN,
		       "the VMM of guest '%s' is gone: nothing can receive the guest",
		       m->guest->name);
	m->error_is_final = true;
	link_cancel(m);
}
