/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record in its file: one JSON object, whose first line (up to the comma at its end) is enough to list it:
 *
 *     {"format": 1, "start": ..., "entry": { MigrationHistoryEntry },
 *     "record": { MigrationRecord }}
 *
 * What a daemon needs to go on with the record of a migration that runs is in the first line, too. Another format is left
 * alone; so is what cannot be read.
 */
#ifndef MIGD_DAEMON_RECORD_FILE_H
#define MIGD_DAEMON_RECORD_FILE_H

#include <stddef.h>

#include "base/err.h"
#include "schema/types.h"

struct record;

#define RECORD_FILE_FORMAT 1
/* A full record takes a tenth of it, but for parameters that are lists. */
#define RECORD_FILE_MAX	   (4096U * 1024U)
/* The first line: an error's text, an address and two names, each byte escaped. */
#define RECORD_HEAD_MAX	   (40U * 1024U)

/* NULL: no memory. Freed by the caller. */
char *record_file_text(const struct record *r);

/* The entry in a file's beginning, TEXT, which is changed. -EBADMSG; -ENOTSUP: another format. */
int record_file_head(char *text, struct migration_history_entry *ret, struct merr *err);

/* All of a file. The same errors. */
int record_file_parse(const char *text, struct record **ret, struct merr *err);

#endif
