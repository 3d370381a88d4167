/* SPDX-License-Identifier: Apache-2.0 */
/* The ranges of settings, and their defaults. */
#include <errno.h>
#include <string.h>

#include "schema/internal.h"

#define NAME_MAX_LEN 64

/* Parameters have dashes in JSON, and underscores in messages about their ranges: QMP.md 1.4. */
static int out_of_range(const struct schema_rule *rule, struct merr *err)
{
	char name[NAME_MAX_LEN];
	size_t i;

	for (i = 0; i < sizeof(name) - 1 && rule->member->name[i]; i++)
		name[i] = rule->member->name[i] == '-' ? '_' : rule->member->name[i];
	name[i] = '\0';
	return merr_set(err, -EINVAL, "Parameter '%s' expects %s", name, rule->expects);
}

static bool is_set(const struct schema_member *m, const void *v)
{
	return *member_has((void *)(uintptr_t)v, m);
}

static bool in_range(const struct schema_rule *rule, const void *v)
{
	uint64_t value = schema_load_uint(member_at(v, rule->member), rule->member->type->size);
	const struct schema_member *other = rule->min_member;

	if (value < rule->min || value > rule->max)
		return false;
	if (rule->power_of_two && (value == 0 || (value & (value - 1)) != 0))
		return false;
	return !other || !is_set(other, v) ||
	       value >= schema_load_uint(member_at(v, other), other->type->size);
}

int schema_check(const struct schema_rule *rules, size_t n_rules, const void *v, struct merr *err)
{
	size_t i;

	for (i = 0; i < n_rules; i++) {
		if (is_set(rules[i].member, v) && !in_range(&rules[i], v))
			return out_of_range(&rules[i], err);
	}
	return 0;
}

int schema_defaults(const struct schema_type *type, void *ret)
{
	json_t *j = json_loads(type->defaults ? type->defaults : "{}", 0, NULL);
	int r;

	memset(ret, 0, type->size);
	if (!j)
		return -ENOMEM;
	r = schema_from_json(type, j, ret, NULL);
	json_decref(j);
	return r;
}
