/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's configuration. */
#include "daemon/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/config-check.h"
#include "daemon/config-value.h"
#include "daemon/json.h"
#include "daemon/nearest.h"

static const struct schema_type *const root = &config_type;

static void *section_of(const struct config *c, const struct schema_member *section)
{
	return (char *)(uintptr_t)c + section->offset;
}

/* ---- keys ---- */

bool config_next_key(struct config_key *k)
{
	const struct schema_member *end = root->members + root->n_members;

	if (!k->section)
		k->section = root->members;
	else if (k->key)
		k->key++;
	while (k->section < end) {
		if (!k->key)
			k->key = k->section->type->members;
		if (k->key < k->section->type->members + k->section->type->n_members)
			return true;
		k->section++;
		k->key = NULL;
	}
	return false;
}

static const struct schema_member *find(const struct schema_type *type, const char *name)
{
	for (uint32_t i = 0; i < type->n_members; i++)
		if (strcmp(type->members[i].name, name) == 0)
			return &type->members[i];
	return NULL;
}

/* The member whose name is like NAME, or NULL. */
static const char *find_like(const struct schema_type *type, const char *name)
{
	const char *best = NULL;
	size_t least = SIZE_MAX, distance;

	for (uint32_t i = 0; i < type->n_members; i++) {
		distance = nearest_distance(name, type->members[i].name);
		if (distance < least) {
			least = distance;
			best = type->members[i].name;
		}
	}
	return best && nearest_is_likely(name, least) ? best : NULL;
}

int config_find_section(const char *name, const struct schema_member **ret, struct merr *err)
{
	char all[256] = "";
	const char *like;

	*ret = find(root, name);
	if (*ret)
		return 0;
	like = find_like(root, name);
	if (like)
		return merr_set(err, -ENOENT, "there is no section [%.60s]; did you mean [%s]?", name, like);
	for (uint32_t i = 0; i < root->n_members; i++)
		(void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s[%s]", i ? ", " : "", root->members[i].name);
	return merr_set(err, -ENOENT, "there is no section [%.60s]; there are %s", name, all);
}

int config_find_key(const char *section, const char *key, struct config_key *ret, struct merr *err)
{
	int r = config_find_section(section, &ret->section, err);
	const char *like;

	if (r < 0)
		return r;
	ret->key = find(ret->section->type, key);
	if (ret->key)
		return 0;
	like = find_like(ret->section->type, key);
	if (like)
		return merr_set(err, -ENOENT, "[%s] has no key '%.60s'; did you mean '%s'?", section, key, like);
	for (uint32_t i = 0; i < root->n_members; i++)
		if (find(root->members[i].type, key))
			return merr_set(err, -ENOENT, "[%s] has no key '%.60s'; it belongs to [%s]", section, key,
					root->members[i].name);
	return merr_set(err, -ENOENT, "[%s] has no key '%.60s'; see migd.conf(5) for those that there are", section, key);
}

/* ---- values ---- */

json_t *config_get(const struct config *c, struct config_key k)
{
	_cleanup_json_ json_t *section = schema_to_json(k.section->type, section_of(c, k.section));

	return json_incref(json_object_get(section, k.key->name));
}

/* VALUE is taken over. The schema's own checks are made, whose words are for QMP. */
static int store(struct config *c, struct config_key k, json_t *value, struct merr *err)
{
	const struct schema_type *type = k.section->type;
	_cleanup_json_ json_t *o = json_pack("{s:o}", k.key->name, value);
	_cleanup_free_ void *one = calloc(1, type->size);
	int r;

	if (!o || !one)
		return merr_set(err, -ENOMEM, "out of memory");
	r = schema_from_json(type, o, one, err);
	if (r < 0)
		return r;
	r = schema_merge(type, section_of(c, k.section), one);
	schema_done(type, one);
	return r < 0 ? merr_set(err, r, "out of memory") : 0;
}

int config_set(struct config *c, struct config_key k, const char *text, bool from_file, struct merr *err)
{
	json_t *value = NULL;
	int r = config_value_parse(k.section->type, k.key, text, &value, err);

	if (r == 0)
		r = config_check_value(k, text, from_file, err);
	if (r < 0) {
		json_decref(value);
		return r;
	}
	return store(c, k, value, err);
}

int config_copy_key(struct config *dst, const struct config *src, struct config_key k)
{
	json_t *value = config_get(src, k);

	return value ? store(dst, k, value, NULL) : 0;
}

/* ---- all of them ---- */

int config_init(struct config *ret, struct merr *err)
{
	struct config c = { 0 };
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < root->n_members; i++)
		r = schema_defaults(root->members[i].type, section_of(&c, &root->members[i]));
	if (r < 0) {
		config_done(&c);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	*ret = c;
	return 0;
}

int config_merge(struct config *dst, const struct config *src)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < root->n_members; i++)
		r = schema_merge(root->members[i].type, section_of(dst, &root->members[i]),
				 section_of(src, &root->members[i]));
	return r;
}
