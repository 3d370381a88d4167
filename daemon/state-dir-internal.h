/* SPDX-License-Identifier: Apache-2.0 */
/* What the state directory's files share. */
#ifndef MIGD_DAEMON_STATE_DIR_INTERNAL_H
#define MIGD_DAEMON_STATE_DIR_INTERNAL_H

#include "daemon/state-dir.h"

struct state_dir {
	int lock_fd;
	int migrations_fd;
	int settings_fd;
	int workers_fd;
	int records_fd; /* -1: it cannot be used; there is no history */
};

/* "ID" of "ID" SUFFIX; false if NAME is something else. */
bool state_dir_parse_name(const char *name, const char *suffix, char ret_id[STATE_DIR_ID_LEN]);

/* Write TEXT as NAME, through TEMPORARY: it is there as a whole, or as it was. DURABLE: also after a crash of the host. -errno. */
int state_dir_replace(int dir, const char *name, const char *temporary, const char *text, bool durable);

/* All of the regular file NAME, or its first MAX bytes if HEAD; else a larger one is refused. Freed by the caller. */
int state_dir_read_file(int dir, const char *name, size_t max, bool head, char **ret, size_t *ret_len, struct merr *err);

#endif
