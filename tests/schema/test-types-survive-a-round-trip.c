/* SPDX-License-Identifier: Apache-2.0 */
/* Every type of the schema, in every shape: from JSON and back, copied, and freed. */
/* LIBS: migd_schema migd_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schema/types.h"
#include "schema/value.h"

/* Which shape of a type: how many elements a list has, which word an enum, which optional members. */
struct shape {
	unsigned int n_elements;
	unsigned int word;
	bool with_optional;
	bool extreme;	/* numbers: the largest */
};

static json_t *make(const struct schema_type *type, const struct shape *shape);

static unsigned int pick_word(const struct schema_type *type, const struct shape *shape)
{
	return 1 + shape->word % (type->n_words - 1);
}

static json_t *make_list(const struct schema_type *type, const struct shape *shape)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < shape->n_elements; i++)
		json_array_append_new(list, make(type, shape));
	return list;
}

static void add_members(json_t *object, const struct schema_type *type, const struct shape *shape)
{
	const struct schema_member *m;

	for (m = type->members; m < type->members + type->n_members; m++) {
		if (!m->optional || shape->with_optional)
			json_object_set_new(object, m->name,
					    m->array ? make_list(m->type, shape) : make(m->type, shape));
	}
	if (type->kind == SCHEMA_UNION && type->branches[pick_word(type->tag->type, shape)])
		add_members(object, type->branches[pick_word(type->tag->type, shape)], shape);
}

static json_t *make(const struct schema_type *type, const struct shape *shape)
{
	/* Of an integer as wide as the type. */
	uint64_t max = type->size - 1U < 8 ? UINT64_MAX >> (64 - 8 * type->size) : 0;
	json_t *object;

	switch (type->kind) {
	case SCHEMA_BOOL:
		return json_boolean(shape->extreme);
	case SCHEMA_INT:
		return json_integer(shape->extreme ? -(json_int_t)(max / 2) - 1 : -1);
	case SCHEMA_UINT:
		return json_uint64(shape->extreme ? max : 1);
	case SCHEMA_NUMBER:
		return json_real(shape->extreme ? 1.7976931348623157e308 : 0.1);
	case SCHEMA_STR:
		return json_string(shape->extreme ? "\xC3\xA9 \xF0\x9F\x98\x80 \"\\" : "");
	case SCHEMA_ANY:
		return json_pack("{s:[i, n]}", "any", 1);
	case SCHEMA_NULL:
		return json_null();
	case SCHEMA_ENUM:
		return json_string(type->words[pick_word(type, shape)]);
	case SCHEMA_ALTERNATE:
		return make(type->members[shape->word % type->n_members].type, shape);
	default:
		object = json_object();
		add_members(object, type, shape);
		return object;
	}
}

static void check_same(const struct schema_type *type, const void *v, json_t *expected, const char *what)
{
	json_t *j = schema_to_json(type, v);

	if (!j || !json_equal(j, expected)) {
		char *is = j ? json_dumps(j, 0) : NULL, *should = json_dumps(expected, 0);

		fail_msg("%s of %s: is %s, should be %s", what, type->name, is ? is : "nothing", should);
	}
	json_decref(j);
}

static void round_trip(const struct schema_type *type, const struct shape *shape)
{
	void *v = calloc(1, type->size), *copy = calloc(1, type->size), *zeros = calloc(1, type->size);
	json_t *j = make(type, shape);
	struct merr err = MERR_INIT;

	if (schema_from_json(type, j, v, &err) < 0)
		fail_msg("%s: %s", type->name, merr_msg(&err));
	check_same(type, v, j, "the value");
	assert_int_equal(schema_copy(type, copy, v), 0);
	schema_done(type, v);
	assert_memory_equal(v, zeros, type->size);
	check_same(type, copy, j, "the copy");
	schema_done(type, copy);
	json_decref(j);
	free(v);
	free(copy);
	free(zeros);
}

static void every_type_survives_a_round_trip(void **state)
{
	const struct schema_type *const *type;
	unsigned int n_types = 0, word, flags;

	(void)state;
	for (type = schema_types; *type; type++) {
		if ((*type)->kind != SCHEMA_STRUCT && (*type)->kind != SCHEMA_UNION)
			continue;
		n_types++;
		/* More words than any enum has. */
		for (word = 0; word < 32; word++) {
			for (flags = 0; flags < 8; flags++) {
				struct shape shape = {
					.n_elements = flags & 1 ? 3 : 0, .word = word,
					.with_optional = flags & 2, .extreme = flags & 4,
				};

				round_trip(*type, &shape);
			}
		}
	}
	assert_true(n_types > 40);
}

static void every_word_is_parsed(void **state)
{
	const struct schema_type *const *type;
	unsigned int v, parsed;

	(void)state;
	for (type = schema_types; *type; type++) {
		if ((*type)->kind != SCHEMA_ENUM)
			continue;
		for (v = 1; v < (*type)->n_words; v++) {
			assert_int_equal(schema_enum_parse(*type, schema_enum_str(*type, v), &parsed), 0);
			assert_int_equal(parsed, v);
		}
		assert_string_equal(schema_enum_str(*type, 0), "invalid");
		assert_string_equal(schema_enum_str(*type, (*type)->n_words), "invalid");
		assert_true(schema_enum_parse(*type, "no such word", &parsed) < 0);
	}
}

static void enums_begin_at_one(void **state)
{
	enum migration_status status = MIGRATION_STATUS__INVALID;

	(void)state;
	assert_int_equal(MIGRATION_STATUS_NONE, 1);
	assert_int_equal(MIGRATION_STATUS__MAX, 17);
	assert_int_equal(migration_status_parse("pre-switchover", &status), 0);
	assert_int_equal(status, MIGRATION_STATUS_PRE_SWITCHOVER);
	assert_string_equal(migration_status_str(status), "pre-switchover");
}

static void text_from_anywhere_becomes_text(void **state)
{
	struct name_info info = { .has_name = true, .name = (char *)"a\xFF\xC0\xAF\xED\xA0\x80z" };
	json_t *j = name_info_to_json(&info);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(j, "name")),
			    "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz");
	json_decref(j);
}

static void numbers_up_to_2_to_the_64_are_exact(void **state)
{
	struct migration_parameters p = { .has_max_bandwidth = true, .max_bandwidth = UINT64_MAX - 1 };
	json_t *j = migration_parameters_to_json(&p), *again;
	char *text = json_dumps(j, 0);
	uint64_t big;

	(void)state;
	assert_true(json_is_big(json_object_get(j, "max-bandwidth"), &big));
	assert_true(big == UINT64_MAX - 1);
	/* Also by way of jansson's own text, as on the worker link. */
	again = json_loads(text, 0, NULL);
	memset(&p, 0, sizeof(p));
	assert_int_equal(migration_parameters_from_json(again, &p, NULL), 0);
	assert_true(p.max_bandwidth == UINT64_MAX - 1);
	json_decref(j);
	json_decref(again);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_survives_a_round_trip),
		cmocka_unit_test(every_word_is_parsed),
		cmocka_unit_test(enums_begin_at_one),
		cmocka_unit_test(text_from_anywhere_becomes_text),
		cmocka_unit_test(numbers_up_to_2_to_the_64_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
