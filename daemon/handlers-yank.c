/* SPDX-License-Identifier: Apache-2.0 */
/* yank, query-yank (QMP.md 2.7), and query-jobs. */
#include <errno.h>

#include "base/cleanup.h"
#include "daemon/cancel.h"
#include "daemon/guest.h"
#include "daemon/json.h"
#include "daemon/migration.h"
#include "daemon/recovery.h"
#include "daemon/scope.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* Of disks and character devices a daemon has none. */
static int check_instance(const struct guest *g, const struct yank_instance *i, struct merr *err)
{
	switch (i->type) {
	case YANK_INSTANCE_TYPE_MIGRATION:
		if (migration_running(g->migration))
			return 0;
		return merr_set_class(err, MERR_DEVICE_NOT_FOUND, -ENOENT,
				      "There is no migration of guest '%s' that runs: see query-yank", g->name);
	case YANK_INSTANCE_TYPE_BLOCK_NODE:
		return merr_set_class(err, MERR_DEVICE_NOT_FOUND, -ENOENT, "There is no disk '%s': see query-yank",
				      i->u.block_node.node_name);
	default:
		return merr_set_class(err, MERR_DEVICE_NOT_FOUND, -ENOENT,
				      "There is no character device '%s': see query-yank", i->u.chardev.id);
	}
}

static int yank_migration(struct guest *g, struct merr *err)
{
	switch (g->migration->status) {
	case MIGRATION_STATUS_POSTCOPY_ACTIVE:
	case MIGRATION_STATUS_POSTCOPY_RECOVER:
		return recovery_pause(g, err);
	case MIGRATION_STATUS_POSTCOPY_PAUSED:
	case MIGRATION_STATUS_POSTCOPY_RECOVER_SETUP:
		return 0; /* there is no connection */
	default:
		return cancel_as_failed(g->migration, err);
	}
}

void cmd_yank(struct qmp_call *call, const struct yank_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;
	int r = 0;

	if (!g)
		return;
	for (size_t i = 0; r == 0 && i < args->n_instances; i++)
		r = check_instance(g, &args->instances[i], &err);
	/* All that is there is the migration. */
	if (r == 0 && args->n_instances > 0)
		r = yank_migration(g, &err);
	qmp_answer(call, r, &err);
}

void cmd_query_yank(struct qmp_call *call, const struct query_yank_args *args)
{
	const struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct yank_instance instance = { .type = YANK_INSTANCE_TYPE_MIGRATION };
	json_t *list;

	if (!g)
		return;
	list = json_array();
	if (migration_running(g->migration))
		(void)json_array_append_new(list, yank_instance_to_json(&instance));
	qmp_return(call, list);
}

void cmd_query_jobs(struct qmp_call *call, const struct query_jobs_args *args)
{
	(void)args;
	qmp_return(call, json_array());
}
