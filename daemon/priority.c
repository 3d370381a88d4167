/* SPDX-License-Identifier: Apache-2.0 */
/* The priority of outgoing migrations. */
#include "daemon/priority.h"

#include <errno.h>

#include "base/log.h"
#include "daemon/budget.h"
#include "daemon/guest.h"
#include "daemon/journal.h"
#include "daemon/migration.h"
#include "daemon/queue.h"
#include "daemon/record.h"
#include "daemon/scope.h"
#include "daemon/shares.h"
#include "qmp/server.h"
#include "schema/commands.h"

int priority_check(int64_t priority, struct merr *err)
{
	if (priority >= PRIORITY_MIN && priority <= PRIORITY_MAX)
		return 0;
	return merr_set(err, -EINVAL, "Parameter 'priority' expects an integer from %d to %d", PRIORITY_MIN,
			PRIORITY_MAX);
}

static int set_priority(struct guest *g, int64_t priority, struct merr *err)
{
	struct migration *m = g->migration;
	struct merr why = MERR_INIT;
	int r = priority_check(priority, err);

	if (r < 0)
		return r;
	if (!migration_running(m) || m->direction != WORKER_DIRECTION_OUTGOING)
		return merr_set(err, -EINVAL, "There is no migration of guest '%s' away from here that runs or waits",
				g->name);
	m->priority = (int)priority;
	record_event(m, RECORD_EVENT_KIND_COMMAND, "migrate-set-priority %d", m->priority);
	if (m->journaled && journal_write(m, &why) < 0)
		log_warning("a new priority is forgotten if this daemon ends: %s guest='%s'", merr_msg(&why), g->name);
	shares_review(g->daemon);
	queue_review(g->daemon);
	return 0;
}

void cmd_migrate_set_priority(struct qmp_call *call, const struct migrate_set_priority_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;

	if (!g)
		return;
	qmp_answer(call, set_priority(g, args->priority, &err), &err);
}
