/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema types as tables: what the generated code consists of, and the functions that walk it.
 *
 * gen/schema/types.c has one table a type; its migration_info_to_json() and so on are one-line
 * calls of the functions here. Ownership: a value owns its strings, arrays and JSON values. All
 * zero is a valid empty value of every type.
 */
#ifndef MIGD_SCHEMA_REFLECT_H
#define MIGD_SCHEMA_REFLECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum schema_kind {
	SCHEMA_BOOL = 1,
	SCHEMA_INT,
	SCHEMA_UINT,	/* also size */
	SCHEMA_NUMBER,
	SCHEMA_STR,
	SCHEMA_ANY,
	SCHEMA_NULL,
	SCHEMA_ENUM,
	SCHEMA_STRUCT,
	SCHEMA_UNION,
	SCHEMA_ALTERNATE,
};

struct schema_type;

/* A member of a struct, or of a union outside its branches; or a choice of an alternate. */
struct schema_member {
	const char *name;	/* as in JSON */
	const struct schema_type *type;	/* of each element, if it is an array */
	uint32_t offset;	/* of the value, or of the pointer to the elements */
	uint32_t offset_has;	/* bool; only if optional */
	uint32_t offset_n;	/* size_t; only if an array */
	bool optional;
	bool array;
	const char *unit;	/* of a number: "ms"; or NULL */
	bool restart;	/* a setting that is taken when the daemon starts, not while it runs */
};

struct schema_rule;

struct schema_type {
	const char *name;	/* as in the schema; integers: as in messages about their width */
	enum schema_kind kind;
	uint32_t size;		/* of the C type */
	const char *const *words;	/* enum: [1 .. n_words - 1] */
	uint32_t n_words;
	const struct schema_member *members;	/* struct, union, alternate */
	uint32_t n_members;
	const struct schema_member *tag;	/* union: the enum that decides */
	const struct schema_type *const *branches;	/* union: by the tag's word; or NULL */
	uint32_t offset_u;	/* union: where all branches are */
	const struct schema_rule *rules;	/* struct: ranges */
	uint32_t n_rules;
	bool tolerant;	/* of what two builds of migd say to each other: members that are not known are passed over */
	const char *defaults;	/* struct: JSON of the members that have one, or NULL: none has, and there are no ranges */
};

/* The range of a member, for the check() functions. */
struct schema_rule {
	const struct schema_member *member;
	uint64_t min, max;
	const struct schema_member *min_member;	/* at least this one's value, if it is set */
	bool power_of_two;
	const char *expects;	/* for the message */
};

extern const struct schema_type schema_type_bool, schema_type_number, schema_type_str,
	schema_type_any, schema_type_null, schema_type_int, schema_type_int8, schema_type_int16,
	schema_type_int32,
	schema_type_int64, schema_type_uint8, schema_type_uint16, schema_type_uint32,
	schema_type_uint64, schema_type_size;

/* JSON, a new reference; NULL without memory, or if an enum in V has no valid value. */
json_t *schema_to_json(const struct schema_type *type, const void *v);

/*
 * Fill RET (all zero, of TYPE, a struct or union) from J (NULL: an empty object). Everything is
 * checked: types, widths, words, unknown (unless TYPE is tolerant) and missing members. -EINVAL or -ENOMEM with ERR, in the
 * words of QMP.md 1.4; RET is then untouched.
 */
int schema_from_json(const struct schema_type *type, json_t *j, void *ret, struct merr *err);

/* Free what V owns and zero it. */
void schema_done(const struct schema_type *type, void *v);

/* Make DST (overwritten, not freed) a copy of SRC. -ENOMEM: DST is untouched. */
int schema_copy(const struct schema_type *type, void *dst, const void *src);

/* Copy the optional members that are set in SRC over those of DST. -ENOMEM: DST is untouched. */
int schema_merge(const struct schema_type *type, void *dst, const void *src);

/* Set the members of RET (a struct, overwritten) that have defaults. -ENOMEM: RET is all zero. */
int schema_defaults(const struct schema_type *type, void *ret);

/* Check the members that are set. -EINVAL with ERR: Parameter 'some_name' expects ... */
int schema_check(const struct schema_rule *rules, size_t n_rules, const void *v, struct merr *err);

/* The word of V, or "invalid"; the value of S, or -EINVAL. */
const char *schema_enum_str(const struct schema_type *type, unsigned int v);
int schema_enum_parse(const struct schema_type *type, const char *s, unsigned int *ret);

#endif
