/* SPDX-License-Identifier: Apache-2.0 */
/* QMP arguments of HMP commands that are more than their words. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "daemon/hmp.h"
#include "daemon/json.h"
#include "schema/types.h"
#include "schema/value.h"

/* Takes over VALUE; NULL: there was no memory for it. */
static int set(json_t *arguments, const char *name, json_t *value, struct merr *err)
{
	if (json_object_set_new(arguments, name, value) < 0)
		return merr_set(err, -ENOMEM, "out of memory");
	return 0;
}

/* For commands whose options are about what is printed. */
int hmp_fill_nothing(json_t *arguments, const json_t *first, struct merr *err)
{
	(void)first;
	(void)err;
	(void)json_object_clear(arguments);
	return 0;
}

/* The monitor of a person, who wants to read what went wrong: QMP.md 7. */
int hmp_fill_incoming(json_t *arguments, const json_t *first, struct merr *err)
{
	(void)first;
	return set(arguments, "exit-on-error", json_false(), err);
}

int hmp_fill_capability(json_t *arguments, const json_t *first, struct merr *err)
{
	json_t *list = json_pack("[o]", json_copy(arguments));

	(void)first;
	(void)json_object_clear(arguments);
	return set(arguments, "capabilities", list, err);
}

/* ---- migrate_set_parameter ---- */

static const struct schema_member *find_parameter(const char *name)
{
	for (uint32_t i = 0; i < migration_parameters_type.n_members; i++)
		if (strcmp(migration_parameters_type.members[i].name, name) == 0)
			return &migration_parameters_type.members[i];
	return NULL;
}

static bool is_in_mib(const char *name)
{
	return strcmp(name, "max-bandwidth") == 0 || strcmp(name, "avail-switchover-bandwidth") == 0;
}

static int set_size(json_t *arguments, const char *name, const char *text, struct merr *err)
{
	uint64_t v;

	if (size_parse(text, is_in_mib(name) ? 'M' : 'B', &v) < 0)
		return merr_set(err, -EINVAL, "Parameter '%s' expects a number, with a suffix (K, M, G, T) if wanted", name);
	return set(arguments, name, json_uint64(v), err);
}

static int set_bool(json_t *arguments, const char *name, const char *text, struct merr *err)
{
	bool on = strcmp(text, "on") == 0;

	if (!on && strcmp(text, "off") != 0)
		return merr_set(err, -EINVAL, "Parameter '%s' expects on or off", name);
	return set(arguments, name, json_boolean(on), err);
}

static int set_list(json_t *arguments, const char *name, const char *text, struct merr *err)
{
	json_t *list = NULL;
	int r = hmp_split(text, &list, err);

	return r < 0 ? r : set(arguments, name, list, err);
}

static int set_parameter(json_t *arguments, const char *name, const char *text, struct merr *err)
{
	const struct schema_member *m = find_parameter(name);

	if (m && m->array && m->type->kind != SCHEMA_STR)
		return merr_set(err, -EINVAL, "Parameter '%s' can only be set by QMP: migrate-set-parameters", name);
	if (m && m->array)
		return set_list(arguments, name, text, err);
	if (m && (m->type->kind == SCHEMA_UINT || m->type->kind == SCHEMA_INT))
		return set_size(arguments, name, text, err);
	if (m && m->type->kind == SCHEMA_BOOL)
		return set_bool(arguments, name, text, err);
	/* Words, and what is no parameter: migrate-set-parameters says so. */
	return set(arguments, name, json_text(text, SIZE_MAX), err);
}

int hmp_fill_parameter(json_t *arguments, const json_t *first, struct merr *err)
{
	_cleanup_json_ json_t *name = json_incref(json_object_get(arguments, "parameter"));
	_cleanup_json_ json_t *value = json_incref(json_object_get(arguments, "value"));

	(void)first;
	(void)json_object_clear(arguments);
	return set_parameter(arguments, json_string_value(name), json_string_value(value), err);
}

/* ---- others ---- */

int hmp_fill_dirty_rate(json_t *arguments, const json_t *first, struct merr *err)
{
	bool ring = json_object_get(arguments, "ring"), bitmap = json_object_get(arguments, "bitmap");

	(void)first;
	(void)json_object_del(arguments, "ring");
	(void)json_object_del(arguments, "bitmap");
	if (ring && bitmap)
		return merr_set(err, -EINVAL, "only one of -r and -b can be wanted");
	if (!ring && !bitmap)
		return 0;
	return set(arguments, "mode", json_string(ring ? "dirty-ring" : "dirty-bitmap"), err);
}

/* "eth0,eth1" */
static json_t *split_at_commas(const char *text)
{
	json_t *list = json_array();

	while (list && *text) {
		size_t len = strcspn(text, ",");

		if (len > 0 && json_array_append_new(list, json_text(text, len)) < 0) {
			json_decref(list);
			return NULL;
		}
		text += len + (text[len] == ',');
	}
	return list;
}

int hmp_fill_announce(json_t *arguments, const json_t *first, struct merr *err)
{
	static const char *const names[][2] = {
		{ "initial", "announce-initial" }, { "max", "announce-max" },
		{ "rounds", "announce-rounds" }, { "step", "announce-step" },
	};
	const char *interfaces = json_string_value(json_object_get(arguments, "interfaces"));
	int r = interfaces ? set(arguments, "interfaces", split_at_commas(interfaces), err) : 0;

	for (size_t i = 0; r == 0 && i < sizeof(names) / sizeof(names[0]); i++)
		r = set(arguments, names[i][0], json_incref(json_object_get(first, names[i][1])), err);
	return r;
}
