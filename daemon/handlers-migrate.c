/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that start, follow, steer and end a guest's migration. */
#include <errno.h>

#include "attach/codec.h"
#include "attach/handover.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/log.h"
#include "daemon/address.h"
#include "daemon/cancel.h"
#include "daemon/cpr.h"
#include "daemon/guest.h"
#include "daemon/incoming.h"
#include "daemon/journal.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "daemon/outgoing.h"
#include "daemon/priority.h"
#include "daemon/record.h"
#include "daemon/recovery.h"
#include "daemon/scope.h"
#include "qmp/server.h"
#include "schema/commands.h"

#define RESOLVE_TIMEOUT_MS 10000U

void cmd_migrate(struct qmp_call *call, const struct migrate_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	char text[ADDRESS_TEXT_MAX];
	struct merr err = MERR_INIT;
	char cpr_path[sizeof(((struct addr *)0)->path)];
	struct addr addr;
	int r;

	if (!g)
		return;
	FAULT_POINT("qmp.migrate-taken");
	r = address_parse(args->has_uri ? args->uri : NULL, args->channels, args->n_channels, &addr,
			  text, &err);
	if (r == 0)
		r = address_parse_cpr(args->channels, args->n_channels, cpr_path, &err);
	if (r == 0)
		r = address_check_direction(&addr, false, &err);
	if (r == 0)
		r = address_check_access(call, &addr, &err);
	if (r == 0)
		r = address_check(g, &addr, &err);
	if (r == 0)
		r = cpr_check_channels(g, &addr, cpr_path, &err);
	if (r == 0)
		r = priority_check(args->priority, &err);
	/* Who announces a guest names it. */
	if (r == 0 && args->has_start_remote && args->start_remote)
		addr.to_guest = true;
	if (r == 0 && args->has_resume && args->resume)
		r = recovery_resume(g, call, text, &addr, &err);
	else if (r == 0)
		r = outgoing_start(g, call,
				   &(struct outgoing){
					   .priority = (int)args->priority,
					   .uri = text,
					   .addr = &addr,
					   .cpr_path = cpr_path,
					   .start_remote = args->has_start_remote && args->start_remote,
					   .preflight_only = args->has_preflight &&
							     args->preflight == PREFLIGHT_MODE_ONLY,
					   .strategy = args->has_strategy ? args->strategy :
									    MIGRATION_STRATEGY_PRECOPY,
					   .deadline_ms = args->has_deadline ? args->deadline : 0,
					   .allow_weak_handover = args->has_allow_weak_handover &&
								  args->allow_weak_handover,
				   },
				   &err);
	FAULT_POINT("qmp.migrate-unanswered");
	qmp_answer(call, r, &err);
}

static void answer_incoming(void *opaque, const struct merr *err)
{
	FAULT_POINT("qmp.incoming-unanswered");
	if (err)
		qmp_fail(opaque, err);
	else
		qmp_return(opaque, NULL);
}

void cmd_migrate_incoming(struct qmp_call *call, const struct migrate_incoming_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	char text[ADDRESS_TEXT_MAX];
	struct merr err = MERR_INIT;
	struct addr addr;

	if (!g)
		return;
	FAULT_POINT("qmp.incoming-taken");
	if (incoming_check(g, &err) < 0 ||
	    address_parse_incoming(args->has_uri ? args->uri : NULL, args->channels,
				   args->n_channels, &addr, text, &err) < 0 ||
	    address_check_direction(&addr, true, &err) < 0 || address_check_access(call, &addr, &err) < 0 ||
	    address_check(g, &addr, &err) < 0 ||
	    (args->has_lazy && args->lazy && incoming_check_lazy(g, &addr, &err) < 0))
		qmp_fail(call, &err);
	else
		incoming_start(g, text, &addr, !args->has_exit_on_error || args->exit_on_error,
			       args->has_lazy && args->lazy, call, answer_incoming, call);
}

void cmd_migrate_cancel(struct qmp_call *call, const struct migrate_cancel_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;

	if (!g)
		return;
	FAULT_POINT("qmp.cancel-taken");
	qmp_answer(call, cancel_migration(g->migration, &err), &err);
}

void cmd_migrate_continue(struct qmp_call *call, const struct migrate_continue_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	enum migration_status status = MIGRATION_STATUS_NONE;
	struct merr err = MERR_INIT;

	if (!g)
		return;
	if (g->migration && g->migration->direction == WORKER_DIRECTION_OUTGOING)
		status = g->migration->status;
	if (args->state != status) {
		(void)merr_set(&err, -EINVAL,
			       "Migration of guest '%s' is not in expected state '%s' but in '%s'",
			       g->name, migration_status_str(args->state),
			       migration_status_str(status));
		qmp_fail(call, &err);
		return;
	}
	if (status == MIGRATION_STATUS_PRE_SWITCHOVER) {
		record_event(g->migration, RECORD_EVENT_KIND_COMMAND, "migrate-continue");
		link_continue(g->migration);
	}
	qmp_return(call, NULL);
}

/* One that waits for its turn does so in the next daemon, too. */
static void start_postcopy(struct migration *m)
{
	struct merr err = MERR_INIT;

	record_event(m, RECORD_EVENT_KIND_COMMAND, "migrate-start-postcopy");
	link_start_postcopy(m);
	if (m->waits && journal_write(m, &err) < 0)
		log_err("%s guest='%s' mig=%s", merr_msg(&err), m->guest->name, m->id);
}

void cmd_migrate_start_postcopy(struct qmp_call *call, const struct migrate_start_postcopy_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;
	const bool *on;

	if (!g)
		return;
	on = g->capabilities;
	if (!on[MIGRATION_CAPABILITY_POSTCOPY_RAM] && !on[MIGRATION_CAPABILITY_DIRTY_BITMAPS])
		(void)merr_set(&err, -EINVAL,
			       "Capability 'postcopy-ram' is off: turn it on, on both sides, before the migration starts");
	else if (!g->migration || g->migration->direction != WORKER_DIRECTION_OUTGOING)
		(void)merr_set(&err, -EINVAL,
			       "There is no migration of guest '%s' away from here: post-copy can be started once one "
			       "was", g->name);
	if (merr_is_set(&err)) {
		qmp_fail(call, &err);
		return;
	}
	if (migration_running(g->migration))
		start_postcopy(g->migration);
	qmp_return(call, NULL);
}

void cmd_migrate_pause(struct qmp_call *call, const struct migrate_pause_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;
	int r;

	if (!g)
		return;
	r = recovery_pause(g, &err);
	if (r == 0)
		record_event(g->migration, RECORD_EVENT_KIND_COMMAND, "migrate-pause");
	qmp_answer(call, r, &err);
}

void cmd_migrate_recover(struct qmp_call *call, const struct migrate_recover_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	char text[ADDRESS_TEXT_MAX];
	struct merr err = MERR_INIT;
	struct addr addr;

	if (!g)
		return;
	if (address_parse_incoming(args->uri, NULL, 0, &addr, text, &err) < 0 ||
	    address_check_direction(&addr, true, &err) < 0 || address_check_access(call, &addr, &err) < 0 ||
	    address_check(g, &addr, &err) < 0)
		qmp_fail(call, &err);
	else
		recovery_listen(g, &addr, call);
}

void cmd_query_migrate(struct qmp_call *call, const struct query_migrate_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;
	struct migration_info info;

	if (!g)
		return;
	if (migration_info(g, &info) < 0) {
		(void)merr_set(&err, -ENOMEM, "out of memory");
		qmp_fail(call, &err);
		return;
	}
	qmp_return(call, migration_info_to_json(&info));
	migration_info_done(&info);
}

/* ---- migrate-resolve ---- */

static int check_resolve(const struct guest *g, const struct migrate_resolve_args *args,
			 struct merr *err)
{
	const struct migration *m = g->migration;
	uint8_t phase = guest_handover(g, NULL);

	if (phase != HANDOVER_RELEASED && phase != HANDOVER_LOADED)
		return merr_set(err, -EINVAL,
				"The handover of guest '%s' is not in doubt: it is %s", g->name,
				handover_state_name(phase));
	if (m && m->worker && !m->in_doubt)
		return merr_set(err, -EINVAL,
				"The handover of guest '%s' is not in doubt: its peer is "
				"connected; wait for it",
				g->name);
	if (!args->fenced)
		return merr_set(err, -EINVAL,
				"Parameter 'fenced' expects true: first make sure that guest '%s' "
				"%s on the other "
				"side%s. Fencing means that its VMM there was killed, or its host "
				"powered off: a guest that runs "
				"twice destroys its disks",
				g->name,
				args->outcome == RESOLVE_OUTCOME_RUN
					? "does not run, and cannot come to run,"
					: "is to run",
				args->outcome == RESOLVE_OUTCOME_RUN ? "" : ", or is given up");
	return 0;
}

/* Without a worker: the library takes the operator's word, and its event settles the migration. */
static int resolve_directly(struct qmp_call *call, struct guest *g, enum resolve_outcome outcome,
			    struct merr *err)
{
	struct attach_resolve body = { .run = outcome == RESOLVE_OUTCOME_RUN };
	uint8_t bytes[32];
	struct wcur w = wcur_of(bytes, sizeof(bytes));

	(void)guest_handover(g, body.handover_id);
	(void)attach_resolve_encode(&w, &body);
	return guest_request(g, ATTACH_RESOLVE, bytes, w.len, NULL, 0, RESOLVE_TIMEOUT_MS,
			     scope_answer, call, err);
}

void cmd_migrate_resolve(struct qmp_call *call, const struct migrate_resolve_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;

	if (!g)
		return;
	if (check_resolve(g, args, &err) < 0) {
		qmp_fail(call, &err);
		return;
	}
	log_notice("an operator decides about a guest in doubt: %s guest='%s'",
		   resolve_outcome_str(args->outcome), g->name);
	record_event(g->migration, RECORD_EVENT_KIND_COMMAND, "migrate-resolve %s", resolve_outcome_str(args->outcome));
	if (g->migration && g->migration->worker) {
		link_resolve(g->migration, args->outcome);
		qmp_return(call, NULL);
	} else if (resolve_directly(call, g, args->outcome, &err) < 0) {
		qmp_fail(call, &err);
	}
}
