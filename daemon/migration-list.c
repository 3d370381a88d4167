/* SPDX-License-Identifier: Apache-2.0 */
/* query-migrations: all of the host's at a glance. */
#include <errno.h>

#include "daemon/daemon.h"
#include "daemon/json.h"
#include "daemon/migration.h"
#include "daemon/queue.h"
#include "daemon/registry.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* NULL: no memory. Strings are borrowed. */
static json_t *describe(const struct migration *m)
{
	bool outgoing = m->direction == WORKER_DIRECTION_OUTGOING, runs = migration_running(m);
	struct migration_summary s = {
		.guest = m->guest->name,
		.direction = outgoing ? MIGRATION_DIRECTION_OUTGOING : MIGRATION_DIRECTION_INCOMING,
		.status = m->status,
		.uri = m->uri,
		.transferred = outgoing ? stats_get(m->stats, transferred_bytes)
					: stats_get(m->stats, received_bytes),
		.has_priority = outgoing,
		.priority = m->priority,
		.queue.position = queue_position(m),
	};

	s.has_queue = s.queue.position != 0;
	if (s.has_queue)
		s.queue.length = queue_length(m);
	s.has_host_share = outgoing && runs && shares_of(m, &s.host_share);
	return migration_summary_to_json(&s);
}

void cmd_query_migrations(struct qmp_call *call, const struct query_migrations_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	struct merr err = MERR_INIT;
	json_t *list = json_array();
	const struct guest *g;
	int r = list ? 0 : -1;

	(void)args;
	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (r == 0 && g->migration && g->migration->status != MIGRATION_STATUS_NONE)
			r = json_array_append_new(list, describe(g->migration));
	if (r == 0) {
		qmp_return(call, list);
		return;
	}
	json_decref(list);
	(void)merr_set(&err, -ENOMEM, "out of memory");
	qmp_fail(call, &err);
}
