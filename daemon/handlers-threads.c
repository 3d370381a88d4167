/* SPDX-License-Identifier: Apache-2.0 */
/* query-migrationthreads: the worker's threads that send, as its statistics tell. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "daemon/guest.h"
#include "daemon/json.h"
#include "daemon/migration.h"
#include "daemon/scope.h"
#include "qmp/server.h"
#include "schema/commands.h"

#define NAME_MAX_LEN 32

static int append(json_t *list, const struct migration_thread_info *t)
{
	return json_array_append_new(list, migration_thread_info_to_json(t)) < 0 ? -1 : 0;
}

static int append_channel(json_t *list, const struct stats_page *st, unsigned int id)
{
	char name[NAME_MAX_LEN];
	struct migration_thread_info t = {
		.name = name,
		.thread_id = (int64_t)stats_channel_get(st, id, thread_id),
		.has_channel = true,
		.channel = { .id = (uint8_t)id,
			     .transferred = stats_channel_get(st, id, bytes),
			     .bandwidth = stats_channel_get(st, id, bandwidth_bps),
			     .failed = stats_channel_get(st, id, failed) != 0 },
	};

	(void)snprintf(name, sizeof(name), "mig/src/send_%u", id);
	return t.thread_id ? append(list, &t) : 0;
}

static int append_main(json_t *list, const struct stats_page *st)
{
	char name[] = "mig/src/main";
	struct migration_thread_info t = { .name = name,
					   .thread_id = (int64_t)stats_get(st, main_thread_id) };

	return t.thread_id ? append(list, &t) : 0;
}

/* A worker that was killed left its threads' ids where they were. */
static bool has_threads(const struct migration *m)
{
	return m && m->direction == WORKER_DIRECTION_OUTGOING && m->worker && migration_running(m);
}

void cmd_query_migrationthreads(struct qmp_call *call, const struct query_migrationthreads_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	_cleanup_json_ json_t *list = json_array();
	struct merr err = MERR_INIT;
	int r = list ? 0 : -1;

	if (!g)
		return;
	if (has_threads(g->migration)) {
		for (unsigned int n = STATS_CHANNELS_MAX; r == 0 && n > 0; n--)
			r = append_channel(list, g->migration->stats, n - 1);
		if (r == 0)
			r = append_main(list, g->migration->stats);
	}
	if (r == 0) {
		qmp_return(call, TAKE_PTR(list));
		return;
	}
	(void)merr_set(&err, -ENOMEM, "out of memory");
	qmp_fail(call, &err);
}
