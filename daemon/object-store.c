/* SPDX-License-Identifier: Apache-2.0 */
/* Objects in the state directory. */
#include "daemon/object-store.h"

#include <errno.h>
#include <jansson.h>

#include "base/err.h"
#include "base/log.h"
#include "daemon/json.h"
#include "daemon/object.h"
#include "daemon/state-dir.h"

/* In the state directory; no guest's: those are hex digits. */
#define STORE_NAME    "objects"
#define STORE_VERSION 1

static bool is_kept(const struct object_options *o)
{
	return o->qom_type != OBJECT_TYPE_SECRET || !o->u.secret.has_data;
}

void object_store_save(const struct objects *os)
{
	json_t *list = json_array();
	_cleanup_json_ json_t *all = json_pack("{s:i, s:o}", "version", STORE_VERSION, "objects", list);
	struct merr err = MERR_INIT;
	const struct object *o;
	int r = all ? 0 : merr_set(&err, -ENOMEM, "out of memory");

	TAILQ_FOREACH(o, &os->list, entry)
	if (r == 0 && is_kept(&o->options) && json_array_append_new(list, object_options_to_json(&o->options)) < 0)
		r = merr_set(&err, -ENOMEM, "out of memory");
	if (r == 0)
		r = state_dir_save(os->state, STORE_NAME, all, true, &err);
	if (r < 0)
		log_warning("the objects are lost if this daemon ends: %s", merr_msg(&err));
}

static void load_one(json_t *j, void (*fn)(void *opaque, const struct object_options *o), void *opaque)
{
	struct merr err = MERR_INIT;
	struct object_options o;

	if (object_options_from_json(j, &o, &err) < 0) {
		log_err("ignoring an object of a former daemon: %s", merr_msg(&err));
		return;
	}
	fn(opaque, &o);
	object_options_done(&o);
}

void object_store_load(struct state_dir *state, void (*fn)(void *opaque, const struct object_options *o), void *opaque)
{
	_cleanup_json_ json_t *all = NULL;
	struct merr err = MERR_INIT;
	json_t *list = NULL, *j;
	json_error_t why;
	int version = 0;
	size_t i;
	int r = state_dir_load(state, STORE_NAME, &all, &err);

	if (r == -ENOENT)
		return;
	if (r == 0 && json_unpack_ex(all, &why, 0, "{s:i, s:o}", "version", &version, "objects", &list) < 0)
		r = merr_set(&err, -EBADMSG, "%s", why.text);
	if (r == 0 && version != STORE_VERSION)
		r = merr_set(&err, -ENOTSUP, "version %d is not known to this migd, which writes %d", version, STORE_VERSION);
	if (r < 0) {
		log_err("ignoring the objects that a former daemon kept (settings/" STORE_NAME "): %s", merr_msg(&err));
		return;
	}
	json_array_foreach(list, i, j)
	load_one(j, fn, opaque);
}
