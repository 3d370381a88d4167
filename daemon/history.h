/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of this host's migrations: those that run are in memory (daemon/record.h), those that are over in the state
 * directory, as many and for as long as section [history] of the configuration says. Of those that are over, memory has what
 * the list shows; it is read when the daemon has begun, a few files at a time.
 *
 * Nothing here makes a migration fail: what cannot be written, or read, is logged.
 */
#ifndef MIGD_DAEMON_HISTORY_H
#define MIGD_DAEMON_HISTORY_H

#include <jansson.h>

#include "base/err.h"
#include "schema/types.h"

struct daemon;
struct history;
struct migration;

/* NULL: no memory. Nothing but the names of the files is read yet. */
struct history *history_new(struct daemon *d);
struct history *history_free(struct history *h);

/* Write M's record as it is now. */
void history_save(struct history *h, struct migration *m);
/* M is settled: its record is the history's, unless it cannot be written. */
void history_end(struct history *h, struct migration *m);
/* M was a former daemon's: so is its record, if there is one. */
void history_resume(struct history *h, struct migration *m);
/* What a former daemon wrote about migration ID is that it completed. */
bool history_says_completed(const struct history *h, const char *id);

struct history_filter {
	const char *guest;	      /* NULL: all */
	enum migration_status status; /* MIGRATION_STATUS__INVALID: all */
	size_t limit;
};

/* MigrationHistoryEntry of each, the one that began last first. NULL: no memory. */
json_t *history_list(struct history *h, const struct history_filter *filter);

/* MigrationRecord, by the beginning of its id, or a guest's last. -ENOENT, -EINVAL (several), -EBADMSG with ERR. */
int history_record_by_id(struct history *h, const char *id, json_t **ret, struct merr *err);
int history_last_record(struct history *h, const char *guest, json_t **ret, struct merr *err);

/* -ENOENT, -EINVAL, -EBUSY (it is not over) with ERR. */
int history_forget(struct history *h, const char *id, struct merr *err);

#endif
