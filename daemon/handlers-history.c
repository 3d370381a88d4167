/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about migrations that are over, and the records of those that are not. */
#include <errno.h>

#include "daemon/daemon.h"
#include "daemon/history.h"
#include "qmp/server.h"
#include "schema/commands.h"

#define LIMIT_DEFAULT 1000U

void cmd_query_migration_history(struct qmp_call *call, const struct query_migration_history_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	const struct history_filter filter = {
		.guest = args->has_guest ? args->guest : NULL,
		.status = args->has_status ? args->status : MIGRATION_STATUS__INVALID,
		.limit = args->has_limit ? args->limit : LIMIT_DEFAULT,
	};
	struct merr err = MERR_INIT;
	json_t *list = history_list(d->history, &filter);

	if (list) {
		qmp_return(call, list);
		return;
	}
	(void)merr_set(&err, -ENOMEM, "out of memory");
	qmp_fail(call, &err);
}

void cmd_query_migration_record(struct qmp_call *call, const struct query_migration_record_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	struct merr err = MERR_INIT;
	json_t *record = NULL;
	int r;

	if (args->has_id && args->has_guest)
		r = merr_set(&err, -EINVAL, "'id' and 'guest' exclude each other: which migration, or whose last one");
	else if (args->has_id)
		r = history_record_by_id(d->history, args->id, &record, &err);
	else
		r = history_last_record(d->history, args->has_guest ? args->guest : NULL, &record, &err);
	if (r < 0)
		qmp_fail(call, &err);
	else
		qmp_return(call, record);
}

void cmd_migration_forget(struct qmp_call *call, const struct migration_forget_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	struct merr err = MERR_INIT;

	qmp_answer(call, history_forget(d->history, args->id, &err), &err);
}
