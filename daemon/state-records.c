/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory's records of migrations. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/state-dir-internal.h"

#define NAME_LEN (STATE_DIR_ID_LEN + 8)

static void name_of(const char *id, const char *suffix, char ret[NAME_LEN])
{
	(void)snprintf(ret, NAME_LEN, "%.32s%s", id, suffix);
}

int state_dir_record_write(struct state_dir *s, const char *id, const char *text, struct merr *err)
{
	char name[NAME_LEN], temporary[NAME_LEN];
	int r;

	name_of(id, ".json", name);
	name_of(id, ".new", temporary);
	r = s->records_fd < 0 ? -ENOTDIR : FAULT_FAILS("file.record-write");
	if (r == 0)
		r = state_dir_replace(s->records_fd, name, temporary, text, false);
	return r < 0 ? merr_set_errno(err, r, "cannot write the record '%s' in the state directory", name) : 0;
}

int state_dir_record_read(struct state_dir *s, const char *id, size_t max, bool head, char **ret, struct merr *err)
{
	char name[NAME_LEN];
	size_t len;

	name_of(id, ".json", name);
	return state_dir_read_file(s->records_fd, name, max, head, ret, &len, err);
}

void state_dir_record_remove(struct state_dir *s, const char *id)
{
	char name[NAME_LEN];

	name_of(id, ".json", name);
	if (unlinkat(s->records_fd, name, 0) < 0 && errno != ENOENT)
		log_warning("cannot remove a record name='%s': %s", name, strerror(errno));
}

void state_dir_record_scan(struct state_dir *s, void (*fn)(void *opaque, const char *id), void *opaque)
{
	_cleanup_closedir_ DIR *d = fd_listing(s->records_fd);
	char id[STATE_DIR_ID_LEN];
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		if (state_dir_parse_name(e->d_name, ".json", id))
			fn(opaque, id);
		else if (state_dir_parse_name(e->d_name, ".new", id))
			(void)unlinkat(s->records_fd, e->d_name, 0);
	}
}
