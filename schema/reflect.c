/* SPDX-License-Identifier: Apache-2.0 */
/* Schema types as tables: the built-in types, enums, and the life of values. */
#include "schema/reflect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "schema/internal.h"

#define BUILTIN(id, in_messages, k, c_type) \
	const struct schema_type schema_type_##id = { .name = in_messages, .kind = k, \
							.size = sizeof(c_type) }
BUILTIN(bool, "boolean", SCHEMA_BOOL, bool);
BUILTIN(number, "number", SCHEMA_NUMBER, double);
BUILTIN(str, "string", SCHEMA_STR, char *);
BUILTIN(any, "value", SCHEMA_ANY, json_t *);
const struct schema_type schema_type_null = { .name = "null", .kind = SCHEMA_NULL };
BUILTIN(int, "int64_t", SCHEMA_INT, int64_t);
BUILTIN(int8, "int8_t", SCHEMA_INT, int8_t);
BUILTIN(int16, "int16_t", SCHEMA_INT, int16_t);
BUILTIN(int32, "int32_t", SCHEMA_INT, int32_t);
BUILTIN(int64, "int64_t", SCHEMA_INT, int64_t);
BUILTIN(uint8, "uint8_t", SCHEMA_UINT, uint8_t);
BUILTIN(uint16, "uint16_t", SCHEMA_UINT, uint16_t);
BUILTIN(uint32, "uint32_t", SCHEMA_UINT, uint32_t);
BUILTIN(uint64, "uint64_t", SCHEMA_UINT, uint64_t);
BUILTIN(size, "uint64_t", SCHEMA_UINT, uint64_t);

const char *schema_enum_str(const struct schema_type *type, unsigned int v)
{
	return v > 0 && v < type->n_words ? type->words[v] : "invalid";
}

int schema_enum_parse(const struct schema_type *type, const char *s, unsigned int *ret)
{
	unsigned int v;

	for (v = 1; v < type->n_words; v++) {
		if (strcmp(type->words[v], s) == 0) {
			*ret = v;
			return 0;
		}
	}
	return -EINVAL;
}

uint64_t schema_load_uint(const void *p, size_t size)
{
	switch (size) {
	case 1:
		return *(const uint8_t *)p;
	case 2:
		return *(const uint16_t *)p;
	case 4:
		return *(const uint32_t *)p;
	default:
		return *(const uint64_t *)p;
	}
}

void schema_store_uint(void *p, size_t size, uint64_t v)
{
	switch (size) {
	case 1:
		*(uint8_t *)p = (uint8_t)v;
		break;
	case 2:
		*(uint16_t *)p = (uint16_t)v;
		break;
	case 4:
		*(uint32_t *)p = (uint32_t)v;
		break;
	default:
		*(uint64_t *)p = v;
		break;
	}
}

const struct schema_type *schema_branch(const struct schema_type *type, const void *v)
{
	uint64_t tag;

	if (type->kind != SCHEMA_UNION)
		return NULL;
	tag = schema_load_uint(member_at(v, type->tag), type->tag->type->size);
	return tag < type->tag->type->n_words ? type->branches[tag] : NULL;
}

const struct schema_member *schema_choice(const struct schema_type *type, const void *v)
{
	unsigned int kind = *(const unsigned int *)v;

	return kind > 0 && kind <= type->n_members ? &type->members[kind - 1] : NULL;
}

static void member_done(const struct schema_member *m, void *v)
{
	char *elements;
	size_t i, n;

	if (!m->array) {
		schema_done(m->type, member_at_w(v, m));
		return;
	}
	elements = *(char **)member_at_w(v, m);
	n = *member_n(v, m);
	for (i = 0; elements && i < n; i++)
		schema_done(m->type, elements + i * m->type->size);
	free(elements);
}

static void members_done(const struct schema_type *type, void *v)
{
	const struct schema_type *branch = schema_branch(type, v);
	uint32_t i;

	for (i = 0; i < type->n_members; i++)
		member_done(&type->members[i], v);
	if (branch)
		schema_done(branch, (char *)v + type->offset_u);
}

void schema_done(const struct schema_type *type, void *v)
{
	const struct schema_member *choice;

	switch (type->kind) {
	case SCHEMA_STR:
		free(*(char **)v);
		break;
	case SCHEMA_ANY:
		json_decref(*(json_t **)v);
		break;
	case SCHEMA_STRUCT:
	case SCHEMA_UNION:
		members_done(type, v);
		break;
	case SCHEMA_ALTERNATE:
		choice = schema_choice(type, v);
		if (choice)
			schema_done(choice->type, member_at_w(v, choice));
		break;
	default:
		break;
	}
	if (type->size)
		memset(v, 0, type->size);
}

static int value_copy(const struct schema_type *type, void *dst, const void *src);

static int elements_copy(const struct schema_member *m, void *dst, const void *src)
{
	const char *from = *(char *const *)member_at(src, m);
	size_t i, n = *member_n((void *)(uintptr_t)src, m);
	char *to;

	if (!n)
		return 0;
	to = calloc(n, m->type->size);
	if (!to)
		return -ENOMEM;
	*(char **)member_at_w(dst, m) = to;
	*member_n(dst, m) = n;
	for (i = 0; i < n; i++) {
		if (value_copy(m->type, to + i * m->type->size, from + i * m->type->size) < 0)
			return -ENOMEM;
	}
	return 0;
}

int schema_copy_member(const struct schema_member *m, void *dst, const void *src)
{
	if (m->optional) {
		if (!*member_has((void *)(uintptr_t)src, m))
			return 0;
		*member_has(dst, m) = true;
	}
	if (m->array)
		return elements_copy(m, dst, src);
	return value_copy(m->type, member_at_w(dst, m), member_at(src, m));
}

static int struct_copy(const struct schema_type *type, void *dst, const void *src)
{
	const struct schema_type *branch;
	uint32_t i;

	for (i = 0; i < type->n_members; i++) {
		if (schema_copy_member(&type->members[i], dst, src) < 0)
			return -ENOMEM;
	}
	branch = schema_branch(type, src);
	return branch ? value_copy(branch, (char *)dst + type->offset_u,
				   (const char *)src + type->offset_u) : 0;
}

/* DST is all zero. What was copied before a failure is left there for schema_done(). */
static int value_copy(const struct schema_type *type, void *dst, const void *src)
{
	const struct schema_member *choice;

	switch (type->kind) {
	case SCHEMA_STR:
		if (*(char *const *)src && !(*(char **)dst = strdup(*(char *const *)src)))
			return -ENOMEM;
		return 0;
	case SCHEMA_ANY:
		*(json_t **)dst = json_incref(*(json_t *const *)src);
		return 0;
	case SCHEMA_STRUCT:
	case SCHEMA_UNION:
		return struct_copy(type, dst, src);
	case SCHEMA_ALTERNATE:
		*(unsigned int *)dst = *(const unsigned int *)src;
		choice = schema_choice(type, src);
		return choice ? value_copy(choice->type, member_at_w(dst, choice),
					   member_at(src, choice)) : 0;
	default:
		if (type->size)
			memcpy(dst, src, type->size);
		return 0;
	}
}

int schema_copy(const struct schema_type *type, void *dst, const void *src)
{
	void *copy = calloc(1, type->size);

	if (!copy || value_copy(type, copy, src) < 0) {
		if (copy)
			schema_done(type, copy);
		free(copy);
		return -ENOMEM;
	}
	memcpy(dst, copy, type->size);
	free(copy);
	return 0;
}

/* DST's member becomes SRC's, which is left empty. */
static void member_move(const struct schema_member *m, void *dst, void *src)
{
	size_t size = m->array ? sizeof(void *) : m->type->size;

	member_done(m, dst);
	*member_has(dst, m) = true;
	*member_has(src, m) = false;
	if (m->array) {
		*member_n(dst, m) = *member_n(src, m);
		*member_n(src, m) = 0;
	}
	memcpy(member_at_w(dst, m), member_at(src, m), size);
	memset(member_at_w(src, m), 0, size);
}

int schema_merge(const struct schema_type *type, void *dst, const void *src)
{
	void *copy = calloc(1, type->size);
	uint32_t i;

	if (!copy || schema_copy(type, copy, src) < 0) {
		free(copy);
		return -ENOMEM;
	}
	for (i = 0; i < type->n_members; i++) {
		if (*member_has(copy, &type->members[i]))
			member_move(&type->members[i], dst, copy);
	}
	schema_done(type, copy);
	free(copy);
	return 0;
}
