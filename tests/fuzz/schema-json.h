/* SPDX-License-Identifier: Apache-2.0 */
/* JSON that a type of the schema may accept, made by its table: right in form, with odd values,
 * sometimes one of another kind. */
#ifndef MIGD_TESTS_FUZZ_SCHEMA_JSON_H
#define MIGD_TESTS_FUZZ_SCHEMA_JSON_H

#include <jansson.h>

#include "grammar.h"
#include "schema/types.h"

static inline json_t *fuzz_json(const struct schema_type *type, unsigned int *seed);

static inline void fuzz_json_members(const struct schema_type *type, json_t *o, unsigned int *seed)
{
	const struct schema_type *branch = NULL;

	for (uint32_t i = 0; i < type->n_members; i++) {
		const struct schema_member *m = &type->members[i];
		json_t *v;

		if (fuzz_random(seed) % 16 == 0 || (m->optional && fuzz_random(seed) % 2))
			continue;
		v = m->array ? json_array() : fuzz_json(m->type, seed);
		for (uint32_t n = m->array ? fuzz_random(seed) % 3 : 0; n > 0; n--)
			(void)json_array_append_new(v, fuzz_json(m->type, seed));
		(void)json_object_set_new(o, m->name, v);
		for (uint32_t w = 1; m == type->tag && json_is_string(v) && w < m->type->n_words;
		     w++)
			if (strcmp(m->type->words[w], json_string_value(v)) == 0)
				branch = type->branches[w];
	}
	if (branch)
		fuzz_json_members(branch, o, seed);
}

static inline json_t *fuzz_json_str(unsigned int *seed)
{
	static const char *const some[] = { "",
					    "a",
					    "0123456789abcdef0123456789abcdef",
					    "tcp:127.0.0.1:1",
					    "/tmp/x",
					    "\x7f\n",
					    "\xc3\xa4",
					    "00112233-4455-6677-8899-aabbccddeeff",
					    "4096" };

	return json_string(some[fuzz_random(seed) % (sizeof(some) / sizeof(some[0]))]);
}

/* Of KIND, or of none: NULL. */
static inline json_t *fuzz_json_scalar(enum schema_kind kind, unsigned int *seed)
{
	switch (kind) {
	case SCHEMA_BOOL:
		return json_boolean(fuzz_random(seed) & 1);
	case SCHEMA_INT:
	case SCHEMA_UINT:
		return json_integer((json_int_t)fuzz_number(seed));
	case SCHEMA_NUMBER:
		return fuzz_random(seed) & 1 ? json_real(0.5)
					     : json_integer((json_int_t)fuzz_number(seed));
	case SCHEMA_STR:
		return fuzz_json_str(seed);
	case SCHEMA_ANY:
	case SCHEMA_NULL:
		return json_null();
	default:
		return NULL;
	}
}

static inline json_t *fuzz_json(const struct schema_type *type, unsigned int *seed)
{
	json_t *o = fuzz_json_scalar(fuzz_random(seed) % 32 ? type->kind : SCHEMA_STR, seed);

	if (o)
		return o;
	if (type->kind == SCHEMA_ENUM)
		return json_string(type->words[1 + fuzz_random(seed) % (type->n_words - 1)]);
	if (type->kind == SCHEMA_ALTERNATE)
		return fuzz_json(type->members[fuzz_random(seed) % type->n_members].type, seed);
	o = json_object();
	fuzz_json_members(type, o, seed);
	return o;
}

/* The text of such JSON, appended to W. */
static inline void fuzz_json_text(const struct schema_type *type, unsigned int *seed,
				  struct wcur *w)
{
	json_t *o = fuzz_json(type, seed);
	char *text = json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY);

	if (text)
		wcur_bytes(w, text, strlen(text));
	free(text);
	json_decref(o);
}

#endif
