/* SPDX-License-Identifier: Apache-2.0 */
/* Guests' settings in the state directory. */
#include "daemon/settings-store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/hello.h"
#include "daemon/json.h"
#include "daemon/state-dir.h"
#include "daemon/worker.h"

#define STORE_VERSION 1

/* "67" for "g": a guest's name may hold what a file's may not. */
static void file_name(const char *guest, char ret[2 * ATTACH_STR_MAX + 1])
{
	size_t i;

	for (i = 0; i < ATTACH_STR_MAX && guest[i]; i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", (unsigned int)(unsigned char)guest[i]);
	ret[2 * i] = '\0';
}

/* ---- saving ---- */

static json_t *capabilities_to_json(const struct guest *g)
{
	json_t *list = json_array();

	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++)
		if (g->capabilities[i])
			(void)json_array_append_new(
				list, json_string(migration_capability_str(
					      (enum migration_capability)i)));
	return list;
}

void settings_save(const struct guest *g)
{
	char name[2 * ATTACH_STR_MAX + 1];
	struct merr err = MERR_INIT;
	_cleanup_json_ json_t *o = json_pack(
		"{s:i, s:s, s:s*, s:i, s:I, s:o, s:o}", "version", STORE_VERSION, "guest", g->name,
		"attach-path", g->attach_path, "vmm-pid", g->pid, "vmm-start-time", (json_int_t)g->pid_start_time, "parameters",
		migration_parameters_to_json(&g->parameters), "capabilities",
		capabilities_to_json(g));

	file_name(g->name, name);
	if (!o)
		(void)merr_set(&err, -ENOMEM, "out of memory");
	if (!o || state_dir_save(g->daemon->state, name, o, false, &err) < 0)
		log_warning("the settings of a guest are lost if this daemon ends guest='%s': %s",
			    g->name, merr_msg(&err));
}

/* ---- loading ---- */

struct stored {
	const char *guest;
	const char *attach_path; /* NULL: its VMM comes by itself */
	int pid;
	uint64_t start_time;
	json_t *parameters, *capabilities; /* borrowed */
};

static int parse(json_t *o, struct stored *ret, struct merr *err)
{
	json_int_t start_time;
	json_error_t why;
	int version;

	ret->attach_path = NULL;
	if (json_unpack_ex(o, &why, 0, "{s:i, s:s, s?s, s:i, s:I, s:o, s:o}", "version", &version,
			   "guest", &ret->guest, "attach-path", &ret->attach_path, "vmm-pid",
			   &ret->pid, "vmm-start-time", &start_time,
			   "parameters", &ret->parameters, "capabilities",
			   &ret->capabilities) < 0)
		return merr_set(err, -EBADMSG, "%s", why.text);
	if (version != STORE_VERSION)
		return merr_set(err, -ENOTSUP, "version %d is not known to this migd, which writes %d",
				version, STORE_VERSION);
	ret->start_time = (uint64_t)start_time;
	return 0;
}

static void take_capabilities(struct guest *g, const json_t *list)
{
	enum migration_capability c;
	const json_t *name;
	size_t i;

	memset(g->capabilities, 0, sizeof(g->capabilities));
	json_array_foreach(list, i, name)
	if (json_is_string(name) && migration_capability_parse(json_string_value(name), &c) == 0)
		g->capabilities[c] = true;
}

static int take(struct guest *g, const struct stored *s, struct merr *err)
{
	struct migration_parameters p;
	int r = migration_parameters_from_json(s->parameters, &p, err);

	if (r < 0)
		return r;
	r = migration_parameters_check(&p, err);
	if (r == 0 && migration_parameters_merge(&g->parameters, &p) < 0)
		r = merr_set(err, -ENOMEM, "out of memory");
	migration_parameters_done(&p);
	if (r == 0)
		take_capabilities(g, s->capabilities);
	return r;
}

void settings_load(struct guest *g, int pid)
{
	char name[2 * ATTACH_STR_MAX + 1];
	_cleanup_json_ json_t *o = NULL;
	struct merr err = MERR_INIT;
	struct stored s;
	int r;

	file_name(g->name, name);
	r = state_dir_load(g->daemon->state, name, &o, &err);
	if (r == -ENOENT)
		return;
	if (r == 0)
		r = parse(o, &s, &err);
	if (r == 0 && (s.pid != pid || s.start_time != process_start_time(pid)))
		return;
	if (r == 0)
		r = take(g, &s, &err);
	if (r < 0)
		log_err("ignoring the settings that a former daemon kept guest='%s': %s", g->name,
			merr_msg(&err));
	else
		log_debug("settings of a former daemon guest='%s'", g->name);
}

void settings_forget(const struct guest *g)
{
	char name[2 * ATTACH_STR_MAX + 1];

	file_name(g->name, name);
	state_dir_remove(g->daemon->state, name);
}

static bool is_stale(void *opaque, json_t *o)
{
	struct merr err = MERR_INIT;
	struct stored s;

	(void)opaque;
	/* What cannot be read is kept: a newer migd may have written it. */
	return parse(o, &s, &err) == 0 && !process_lives(s.pid, s.start_time);
}

void settings_prune(const struct daemon *d)
{
	state_dir_prune(d->state, is_stale, NULL);
}

static bool reach_out(void *opaque, json_t *o)
{
	const struct daemon *d = opaque;
	struct merr err = MERR_INIT;
	struct stored s;

	if (parse(o, &s, &err) == 0 && s.attach_path)
		door_reach_out_again(d->door, s.guest, s.attach_path);
	return false;
}

void settings_reattach(struct daemon *d)
{
	state_dir_prune(d->state, reach_out, d);
}
