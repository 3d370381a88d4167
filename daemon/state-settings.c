/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory's settings: small JSON files, replaced as a whole. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/json.h"
#include "daemon/state-dir-internal.h"

/* A guest's settings are a few kilobytes, but for lists that an operator gives. */
#define SETTINGS_MAX_BYTES (1024 * 1024)

/* No guest's: those have an even number of digits. */
#define TEMPORARY "new"

int state_dir_save(struct state_dir *s, const char *name, const json_t *o, bool durable,
		   struct merr *err)
{
	_cleanup_free_ char *text = json_dumps(o, JSON_INDENT(1));
	int r;

	if (!text)
		return merr_set(err, -ENOMEM, "out of memory");
	if (strlen(text) > SETTINGS_MAX_BYTES)
		return merr_set(err, -EFBIG, "they take %zu bytes, at most %d are kept",
				strlen(text), SETTINGS_MAX_BYTES);
	r = state_dir_replace(s->settings_fd, name, TEMPORARY, text, durable);
	return r < 0 ? merr_set_errno(err, r, "cannot write '%s' in the state directory", name) : 0;
}

int state_dir_load(struct state_dir *s, const char *name, json_t **ret, struct merr *err)
{
	_cleanup_free_ char *text = NULL;
	json_error_t why;
	size_t len;
	int r = state_dir_read_file(s->settings_fd, name, SETTINGS_MAX_BYTES, false, &text, &len, err);

	if (r < 0)
		return r;
	*ret = json_loadb(text, len, 0, &why);
	return *ret ? 0 : merr_set(err, -EBADMSG, "'%s' in the state directory: %s", name, why.text);
}

void state_dir_remove(struct state_dir *s, const char *name)
{
	if (unlinkat(s->settings_fd, name, 0) < 0 && errno != ENOENT)
		log_warning("cannot remove a guest's settings name='%s': %s", name, strerror(errno));
}

static void prune_one(struct state_dir *s, const char *name, bool (*fn)(void *opaque, json_t *o),
		      void *opaque)
{
	_cleanup_json_ json_t *o = NULL;
	struct merr err = MERR_INIT;

	if (state_dir_load(s, name, &o, &err) < 0)
		log_err("%s", merr_msg(&err));
	else if (fn(opaque, o))
		state_dir_remove(s, name);
}

void state_dir_prune(struct state_dir *s, bool (*fn)(void *opaque, json_t *o), void *opaque)
{
	_cleanup_closedir_ DIR *d = fd_listing(s->settings_fd);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (strspn(e->d_name, "0123456789abcdef") == strlen(e->d_name))
			prune_one(s, e->d_name, fn, opaque);
}
