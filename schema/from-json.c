/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From JSON to values, with the checks and error texts of QMP.md 1.4.
 *
 * Values are built in place in zeroed memory; whatever is there when something fails is freed by
 * schema_done(). The schema has no recursive types, so the depth of the walk is bounded by the
 * schema, not by the input.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/internal.h"
#include "schema/value.h"

#define PATH_TEXT_MAX 256	/* longer ones are cut */

/*
 * Where in the arguments we are. NAME is NULL for an element of a list, and for the outermost
 * object.
 */
struct path {
	const struct path *up;
	const char *name;
	size_t index;
	bool tolerant;	/* at the root: of the whole value */
};

static bool is_tolerant(const struct path *at)
{
	while (at->up)
		at = at->up;
	return at->tolerant;
}

static size_t path_text(const struct path *at, char *text, size_t size)
{
	size_t len = 0;
	int n;

	text[0] = '\0';
	if (!at || !at->up)
		return 0;
	len = path_text(at->up, text, size);
	n = at->name ? snprintf(text + len, size - len, "%s%s", len ? "." : "", at->name)
		     : snprintf(text + len, size - len, "[%zu]", at->index);
	len += n > 0 ? (size_t)n : 0;
	return len < size ? len : size - 1;
}

/* The name in messages that say the last part only. */
static const char *leaf(const struct path *at)
{
	return at->name ? at->name : "null";
}

static int wrong_type(const struct path *at, const char *expected, struct merr *err)
{
	char text[PATH_TEXT_MAX];

	if (path_text(at, text, sizeof(text)) == 0)
		(void)snprintf(text, sizeof(text), "%s", leaf(at));
	return merr_set(err, -EINVAL, "Invalid parameter type for '%s', expected: %s", text,
			expected);
}

static int int_from_json(const struct schema_type *type, json_t *j, const struct path *at,
			 void *ret, struct merr *err)
{
	int64_t limit = INT64_MAX >> (64 - 8 * type->size);
	int64_t v;

	if (!json_is_integer(j))
		return wrong_type(at, "integer", err);
	v = json_integer_value(j);
	if (v > limit || v < -limit - 1)
		return merr_set(err, -EINVAL, "Parameter '%s' expects %s", leaf(at), type->name);
	schema_store_uint(ret, type->size, (uint64_t)v);
	return 0;
}

/* A negative number is accepted and wraps, as it always did; narrow types then refuse it. */
static int uint_from_json(const struct schema_type *type, json_t *j, const struct path *at,
			  void *ret, struct merr *err)
{
	char text[PATH_TEXT_MAX];
	uint64_t v;

	if (json_is_integer(j)) {
		v = (uint64_t)json_integer_value(j);
	} else if (!json_is_big(j, &v)) {
		(void)path_text(at, text, sizeof(text));
		return merr_set(err, -EINVAL, "Parameter '%s' expects uint64", text);
	}
	if (v > UINT64_MAX >> (64 - 8 * type->size))
		return merr_set(err, -EINVAL, "Parameter '%s' expects %s", leaf(at), type->name);
	schema_store_uint(ret, type->size, v);
	return 0;
}

static int number_from_json(json_t *j, const struct path *at, double *ret, struct merr *err)
{
	uint64_t big;

	if (json_is_big(j, &big))
		*ret = (double)big;
	else if (json_is_number(j))
		*ret = json_number_value(j);
	else
		return wrong_type(at, "number", err);
	return 0;
}

static bool is_text(const json_t *j)
{
	uint64_t big;

	return json_is_string(j) && !json_is_big(j, &big);
}

static int str_from_json(json_t *j, const struct path *at, char **ret, struct merr *err)
{
	char text[PATH_TEXT_MAX];

	if (!is_text(j))
		return wrong_type(at, "string", err);
	if (strlen(json_string_value(j)) != json_string_length(j)) {
		(void)path_text(at, text, sizeof(text));
		return merr_set(err, -EINVAL, "Parameter '%s' expects a string without NUL", text);
	}
	*ret = strdup(json_string_value(j));
	return *ret ? 0 : merr_set(err, -ENOMEM, "out of memory");
}

static int enum_from_json(const struct schema_type *type, json_t *j, const struct path *at,
			  unsigned int *ret, struct merr *err)
{
	if (!is_text(j))
		return wrong_type(at, "string", err);
	if (strlen(json_string_value(j)) != json_string_length(j) ||
	    schema_enum_parse(type, json_string_value(j), ret) < 0)
		return merr_set(err, -EINVAL, "Parameter '%s' does not accept value '%s'", leaf(at),
				json_string_value(j));
	return 0;
}

static int value_from_json(const struct schema_type *type, json_t *j, const struct path *at,
			   void *ret, struct merr *err);

static int elements_from_json(const struct schema_member *m, json_t *j, const struct path *at,
			      void *ret, struct merr *err)
{
	struct path element = { .up = at };
	char *elements;
	size_t n;
	int r;

	if (!json_is_array(j))
		return wrong_type(at, "array", err);
	n = json_array_size(j);
	if (!n)
		return 0;
	elements = calloc(n, m->type->size);
	if (!elements)
		return merr_set(err, -ENOMEM, "out of memory");
	*(char **)member_at_w(ret, m) = elements;
	*member_n(ret, m) = n;
	for (element.index = 0; element.index < n; element.index++) {
		r = value_from_json(m->type, json_array_get(j, element.index), &element,
				    elements + element.index * m->type->size, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int member_from_json(const struct schema_member *m, json_t *object, const struct path *up,
			    void *ret, struct merr *err)
{
	const struct path at = { .up = up, .name = m->name };
	json_t *j = json_object_get(object, m->name);
	char text[PATH_TEXT_MAX];

	if (!j) {
		if (m->optional)
			return 0;
		(void)path_text(&at, text, sizeof(text));
		return merr_set(err, -EINVAL, "Parameter '%s' is missing", text);
	}
	if (m->optional)
		*member_has(ret, m) = true;
	if (m->array)
		return elements_from_json(m, j, &at, ret, err);
	return value_from_json(m->type, j, &at, member_at_w(ret, m), err);
}

/* The branches of a union are on the same level as the union itself. */
static int members_from_json(const struct schema_type *type, json_t *object, const struct path *at,
			     void *ret, struct merr *err)
{
	const struct schema_type *branch;
	uint32_t i;
	int r;

	for (i = 0; i < type->n_members; i++) {
		r = member_from_json(&type->members[i], object, at, ret, err);
		if (r < 0)
			return r;
	}
	branch = schema_branch(type, ret);
	if (!branch)
		return 0;
	return members_from_json(branch, object, at, (char *)ret + type->offset_u, err);
}

static bool has_member(const struct schema_type *type, const void *v, const char *name)
{
	const struct schema_type *branch = schema_branch(type, v);
	uint32_t i;

	for (i = 0; i < type->n_members; i++) {
		if (strcmp(type->members[i].name, name) == 0)
			return true;
	}
	return branch && has_member(branch, (const char *)v + type->offset_u, name);
}

static int object_from_json(const struct schema_type *type, json_t *j, const struct path *at,
			    void *ret, struct merr *err)
{
	char text[PATH_TEXT_MAX];
	const char *name;
	json_t *value;
	int r;

	if (!json_is_object(j))
		return wrong_type(at, "object", err);
	r = members_from_json(type, j, at, ret, err);
	if (r < 0)
		return r;
	json_object_foreach(j, name, value) {
		if (!has_member(type, ret, name) && !is_tolerant(at)) {
			const struct path member = { .up = at, .name = name };

			(void)path_text(&member, text, sizeof(text));
			return merr_set(err, -EINVAL, "Parameter '%s' is unexpected", text);
		}
	}
	return 0;
}

static bool choice_matches(enum schema_kind kind, json_t *j)
{
	switch (kind) {
	case SCHEMA_BOOL:
		return json_is_boolean(j);
	case SCHEMA_INT:
	case SCHEMA_UINT:
	case SCHEMA_NUMBER:
		return json_is_any_number(j);
	case SCHEMA_STR:
	case SCHEMA_ENUM:
		return is_text(j);
	case SCHEMA_NULL:
		return json_is_null(j);
	default:
		return json_is_object(j);
	}
}

static int alternate_from_json(const struct schema_type *type, json_t *j, const struct path *at,
			       void *ret, struct merr *err)
{
	const struct schema_member *m;
	uint32_t i;

	for (i = 0; i < type->n_members; i++) {
		m = &type->members[i];
		if (choice_matches(m->type->kind, j)) {
			*(unsigned int *)ret = i + 1;
			return value_from_json(m->type, j, at, member_at_w(ret, m), err);
		}
	}
	return wrong_type(at, type->name, err);
}

static int value_from_json(const struct schema_type *type, json_t *j, const struct path *at,
			   void *ret, struct merr *err)
{
	switch (type->kind) {
	case SCHEMA_BOOL:
		if (!json_is_boolean(j))
			return wrong_type(at, "boolean", err);
		*(bool *)ret = json_is_true(j);
		return 0;
	case SCHEMA_INT:
		return int_from_json(type, j, at, ret, err);
	case SCHEMA_UINT:
		return uint_from_json(type, j, at, ret, err);
	case SCHEMA_NUMBER:
		return number_from_json(j, at, ret, err);
	case SCHEMA_STR:
		return str_from_json(j, at, ret, err);
	case SCHEMA_ANY:
		*(json_t **)ret = json_incref(j);
		return 0;
	case SCHEMA_NULL:
		return json_is_null(j) ? 0 : wrong_type(at, "null", err);
	case SCHEMA_ENUM:
		return enum_from_json(type, j, at, ret, err);
	case SCHEMA_STRUCT:
	case SCHEMA_UNION:
		return object_from_json(type, j, at, ret, err);
	case SCHEMA_ALTERNATE:
		return alternate_from_json(type, j, at, ret, err);
	}
	return -EINVAL;
}

int schema_from_json(const struct schema_type *type, json_t *j, void *ret, struct merr *err)
{
	const struct path root = { .tolerant = type->tolerant };
	json_t *empty = j ? NULL : json_object();
	void *v = calloc(1, type->size);
	int r;

	if (!v || (!j && !empty)) {
		r = merr_set(err, -ENOMEM, "out of memory");
	} else {
		r = value_from_json(type, j ? j : empty, &root, v, err);
		if (r < 0)
			schema_done(type, v);
		else
			memcpy(ret, v, type->size);
	}
	free(v);
	json_decref(empty);
	return r;
}
