/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about a guest's run state: query-status, stop, cont, system_wakeup (QMP.md 2.5). */
#include <errno.h>
#include <migd/guest.h>

#include "attach/codec.h"
#include "attach/handover.h"
#include "base/cleanup.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/scope.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* For the VMM to park its vCPUs and drain its disks; then for it to say so. */
#define PAUSE_DEADLINE_MS 5000U
#define REPLY_TIMEOUT_MS  10000U

void cmd_query_status(struct qmp_call *call, const struct query_status_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct status_info info;

	if (!g)
		return;
	info.status = guest_run_state(g);
	info.running = info.status == RUN_STATE_RUNNING;
	qmp_return(call, status_info_to_json(&info));
}

static void request(struct qmp_call *call, struct guest *g, uint16_t type, const void *body,
		    size_t len)
{
	struct merr err = MERR_INIT;

	if (guest_request(g, type, body, len, NULL, 0, REPLY_TIMEOUT_MS, scope_answer, call, &err) < 0)
		qmp_fail(call, &err);
}

void cmd_system_wakeup(struct qmp_call *call, const struct system_wakeup_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;

	if (!g)
		return;
	if (guest_run_state(g) == RUN_STATE_SUSPENDED) {
		request(call, g, ATTACH_REQUEST_WAKEUP, NULL, 0);
		return;
	}
	(void)merr_set(&err, -EINVAL,
		       "Unable to wake up: guest '%s' is not in suspended state (it is %s)",
		       g->name, run_state_str(guest_run_state(g)));
	qmp_fail(call, &err);
}

void cmd_stop(struct qmp_call *call, const struct stop_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct attach_pause body = { .deadline_ms = PAUSE_DEADLINE_MS };
	uint8_t bytes[16];
	struct wcur w = wcur_of(bytes, sizeof(bytes));

	if (!g)
		return;
	switch (g->run_state) {
	case MIGD_GUEST_RS_RUNNING:
	case MIGD_GUEST_RS_SUSPENDED:
	case MIGD_GUEST_RS_INMIGRATE: /* it will stay paused once it is here */
		(void)attach_pause_encode(&w, &body);
		request(call, g, ATTACH_PAUSE, bytes, w.len);
		return;
	default:
		qmp_return(call, NULL);
	}
}

static void fail_finish_migrate(struct merr *err, const struct guest *g)
{
	if (guest_handover(g, NULL) == HANDOVER_RELEASED)
		(void)merr_set(err, -EBUSY,
			       "Guest '%s' was released to %s and may run there; query-migrate's "
			       "handover tells, and "
			       "migrate-resolve decides if the peer is lost",
			       g->name, g->migration ? g->migration->peer : "its peer");
	else
		(void)merr_set(err, -EBUSY,
			       "The migration of guest '%s' has not been finalized yet; wait for "
			       "it or use "
			       "migrate_cancel",
			       g->name);
}

/* Why a guest in this state cannot be started. */
static void explain_no_cont(struct merr *err, const struct guest *g)
{
	switch (g->run_state) {
	case MIGD_GUEST_RS_FINISH_MIGRATE:
		fail_finish_migrate(err, g);
		return;
	case MIGD_GUEST_RS_POSTMIGRATE:
		(void)merr_set(err, -EBUSY,
			       "Guest '%s' was migrated away%s%s and runs there; it can never run "
			       "here again",
			       g->name, g->migration ? " to " : "",
			       g->migration ? g->migration->uri : "");
		return;
	case MIGD_GUEST_RS_DISCARDED:
		(void)merr_set(err, -EBUSY,
			       "Guest '%s' did not arrive, and will not any more; start a fresh "
			       "VMM for another "
			       "attempt",
			       g->name);
		return;
	default:
		(void)merr_set(
			err, -EBUSY,
			"Resetting the Virtual Machine is required: guest '%s' is in state %s",
			g->name, run_state_str(guest_run_state(g)));
	}
}

void cmd_cont(struct qmp_call *call, const struct cont_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;

	if (!g)
		return;
	switch (g->run_state) {
	case MIGD_GUEST_RS_RUNNING:
	case MIGD_GUEST_RS_SUSPENDED:
		qmp_return(call, NULL);
		return;
	case MIGD_GUEST_RS_PAUSED:
	case MIGD_GUEST_RS_INMIGRATE:
		request(call, g, ATTACH_RESUME, NULL, 0);
		return;
	default:
		explain_no_cont(&err, g);
		qmp_fail(call, &err);
	}
}
