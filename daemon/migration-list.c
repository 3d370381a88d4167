/* SPDX-License-Identifier: Apache-2.0 */
/* query-migrations: all of the host's at a glance. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "daemon/daemon.h"
#include "daemon/json.h"
#include "daemon/migration.h"
#include "daemon/queue.h"
#include "daemon/registry.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* POSITION: in the queue of LENGTH; 0: it does not wait. NULL: no memory. Strings are borrowed. */
static json_t *describe(const struct migration *m, size_t position, size_t length)
{
	bool outgoing = m->direction == WORKER_DIRECTION_OUTGOING, runs = migration_running(m);
	struct migration_summary s = {
		.has_id = !m->preflight_only,
		.id = (char *)(uintptr_t)m->id,
		.guest = m->guest->name,
		.direction = outgoing ? MIGRATION_DIRECTION_OUTGOING : MIGRATION_DIRECTION_INCOMING,
		.status = m->status,
		.uri = m->uri,
		.transferred = outgoing ? stats_get(m->stats, transferred_bytes)
					: stats_get(m->stats, received_bytes),
		.has_priority = outgoing,
		.priority = m->priority,
		.has_queue = position > 0,
		.queue = { .position = (uint32_t)position, .length = (uint32_t)length },
	};

	s.has_host_share = outgoing && runs && shares_of(m, &s.host_share);
	return migration_summary_to_json(&s);
}

static int append_queue(const struct daemon *d, enum worker_direction direction, json_t *list)
{
	_cleanup_free_ const struct migration **waiting = NULL;
	size_t n = 0;
	int r = queue_list(d, direction, &waiting, &n);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = json_array_append_new(list, describe(waiting[i], i + 1, n));
	return r;
}

static int append_each(const struct daemon *d, json_t *list)
{
	const struct guest *g;
	int r = 0;

	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (r == 0 && g->migration && g->migration->status != MIGRATION_STATUS_NONE)
			r = json_array_append_new(list, describe(g->migration, g->rank, g->ranks));
	return r;
}

/* Each guest's place in its queue, for append_each(). */
static int rank(const struct daemon *d, enum worker_direction direction)
{
	_cleanup_free_ const struct migration **waiting = NULL;
	size_t n = 0;
	int r = queue_list(d, direction, &waiting, &n);

	for (size_t i = 0; i < n; i++) {
		waiting[i]->guest->rank = (uint32_t)i + 1;
		waiting[i]->guest->ranks = (uint32_t)n;
	}
	return r;
}

static int append_all(const struct daemon *d, json_t *list)
{
	struct guest *g;
	int r;

	TAILQ_FOREACH(g, &d->registry->guests, entry)
		g->rank = g->ranks = 0;
	r = rank(d, WORKER_DIRECTION_OUTGOING);
	if (r == 0)
		r = rank(d, WORKER_DIRECTION_INCOMING);
	return r == 0 ? append_each(d, list) : r;
}

void cmd_query_migrations(struct qmp_call *call, const struct query_migrations_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	struct merr err = MERR_INIT;
	json_t *list = json_array();
	int r = list ? 0 : -ENOMEM;

	if (r == 0 && args->has_waiting && args->waiting) {
		r = append_queue(d, WORKER_DIRECTION_OUTGOING, list);
		if (r == 0)
			r = append_queue(d, WORKER_DIRECTION_INCOMING, list);
	} else if (r == 0) {
		r = append_all(d, list);
	}
	if (r == 0) {
		qmp_return(call, list);
		return;
	}
	json_decref(list);
	(void)merr_set(&err, -ENOMEM, "out of memory");
	qmp_fail(call, &err);
}
