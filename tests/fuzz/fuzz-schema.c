/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema's types: a line with a type's name, then JSON as a value of it. What is taken gives
 * JSON that is taken again, and is the same; what is refused has a reason, and leaves nothing
 * behind.
 */
/* LIBS: migd_qmp migd_schema migd_base */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "qmp/parser.h"
#include "schema-json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct schema_type *find(const uint8_t *name, size_t len)
{
	for (const struct schema_type *const *t = schema_types; *t; t++)
		if (strlen((*t)->name) == len && memcmp((*t)->name, name, len) == 0)
			return *t;
	return NULL;
}

/* As a client's bytes are read: numbers beyond jansson's are kept. */
static json_t *parse(const uint8_t *text, size_t len)
{
	struct qmp_parser p = { .limits = &qmp_parser_default_limits };
	struct merr err = MERR_INIT;
	json_t *value = NULL;
	size_t used;

	if (qmp_parser_feed(&p, text, len, &used, &value, &err) == QMP_PARSER_MORE)
		(void)qmp_parser_finish(&p, &value, &err);
	qmp_parser_done(&p);
	return value;
}

static void check_enum(const struct schema_type *t, const void *v)
{
	const char *word = schema_enum_str(t, *(const unsigned int *)v);
	unsigned int same;

	assert(word && schema_enum_parse(t, word, &same) == 0 && same == *(const unsigned int *)v);
}

/* As all of a set of settings are: they can be merged. */
static bool all_optional(const struct schema_type *t)
{
	for (uint32_t i = 0; i < t->n_members; i++)
		if (!t->members[i].optional)
			return false;
	return t->kind == SCHEMA_STRUCT;
}

static void check_value(const struct schema_type *t, void *v)
{
	json_t *said = schema_to_json(t, v), *again;
	void *copy = calloc(1, t->size);
	struct merr err = MERR_INIT;

	assert(said && copy);
	if (t->kind == SCHEMA_ENUM)
		check_enum(t, v);
	assert(schema_copy(t, copy, v) == 0);
	schema_done(t, copy);
	assert(schema_from_json(t, said, copy, &err) == 0);
	again = schema_to_json(t, copy);
	assert(json_equal(said, again));
	assert(schema_check(t->rules, t->n_rules, v, &err) == 0 || merr_is_set(&err));
	if (all_optional(t))
		assert(schema_merge(t, copy, v) == 0);
	schema_done(t, copy);
	free(copy);
	json_decref(said);
	json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *end = len > 0 ? memchr(data, '\n', len) : NULL;
	const struct schema_type *t = end ? find(data, (size_t)(end - data)) : NULL;
	struct merr err = MERR_INIT;
	json_t *o;
	void *v;

	if (!t)
		return 0;
	o = parse(end + 1, len - (size_t)(end + 1 - data));
	v = malloc(t->size);
	assert(v);
	if (schema_defaults(t, v) == 0)
		schema_done(t, v);
	if (schema_from_json(t, o, v, &err) < 0) {
		assert(merr_is_set(&err));
	} else {
		check_value(t, v);
		schema_done(t, v);
	}
	free(v);
	json_decref(o);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint8_t text[GRAMMAR_PIECE_MAX];
	struct wcur w = wcur_of(text, sizeof(text));
	const struct schema_type *t;
	size_t n = 0;

	if (fuzz_random(&seed) % 4)
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size) : size;
	while (schema_types[n])
		n++;
	t = schema_types[fuzz_random(&seed) % n];
	wcur_bytes(&w, t->name, strlen(t->name));
	wcur_u8(&w, '\n');
	fuzz_json_text(t, &seed, &w);
	return fuzz_splice(data, size, max_size, 0, size, &w);
}
