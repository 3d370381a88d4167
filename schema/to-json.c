/* SPDX-License-Identifier: Apache-2.0 */
/* From values to JSON. */
#include <math.h>

#include "schema/internal.h"
#include "schema/value.h"

static int64_t load_int(const void *p, size_t size)
{
	unsigned int unused_bits = 64 - 8 * (unsigned int)size;

	/* Sign-extended. */
	return (int64_t)(schema_load_uint(p, size) << unused_bits) >> unused_bits;
}

/* JSON has no infinities and no NaN. */
static json_t *number_to_json(double v)
{
	return json_real(isfinite(v) ? v : 0);
}

static json_t *enum_to_json(const struct schema_type *type, const void *v)
{
	uint64_t word = schema_load_uint(v, type->size);

	return word > 0 && word < type->n_words ? json_string(type->words[word]) : NULL;
}

static json_t *member_to_json(const struct schema_member *m, const void *v)
{
	const char *elements;
	json_t *list;
	size_t i, n;

	if (!m->array)
		return schema_to_json(m->type, member_at(v, m));
	elements = *(char *const *)member_at(v, m);
	n = *member_n((void *)(uintptr_t)v, m);
	list = json_array();
	for (i = 0; list && i < n; i++) {
		json_t *element = schema_to_json(m->type, elements + i * m->type->size);

		if (json_array_append_new(list, element) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static int add_members(json_t *object, const struct schema_type *type, const void *v)
{
	const struct schema_type *branch = schema_branch(type, v);
	const struct schema_member *m;

	for (m = type->members; m < type->members + type->n_members; m++) {
		if (m->optional && !*member_has((void *)(uintptr_t)v, m))
			continue;
		if (json_object_set_new(object, m->name, member_to_json(m, v)) < 0)
			return -1;
	}
	return branch ? add_members(object, branch, (const char *)v + type->offset_u) : 0;
}

static json_t *object_to_json(const struct schema_type *type, const void *v)
{
	json_t *object = json_object();

	if (object && add_members(object, type, v) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *alternate_to_json(const struct schema_type *type, const void *v)
{
	const struct schema_member *choice = schema_choice(type, v);

	return choice ? schema_to_json(choice->type, member_at(v, choice)) : NULL;
}

json_t *schema_to_json(const struct schema_type *type, const void *v)
{
	const char *s;
	json_t *any;

	switch (type->kind) {
	case SCHEMA_BOOL:
		return json_boolean(*(const bool *)v);
	case SCHEMA_INT:
		return json_integer(load_int(v, type->size));
	case SCHEMA_UINT:
		return json_uint64(schema_load_uint(v, type->size));
	case SCHEMA_NUMBER:
		return number_to_json(*(const double *)v);
	case SCHEMA_STR:
		s = *(char *const *)v;
		return json_text(s ? s : "", SIZE_MAX);
	case SCHEMA_ANY:
		any = *(json_t *const *)v;
		return any ? json_incref(any) : json_null();
	case SCHEMA_NULL:
		return json_null();
	case SCHEMA_ENUM:
		return enum_to_json(type, v);
	case SCHEMA_STRUCT:
	case SCHEMA_UNION:
		return object_to_json(type, v);
	case SCHEMA_ALTERNATE:
		return alternate_to_json(type, v);
	}
	return NULL;
}
