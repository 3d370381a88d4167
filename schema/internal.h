/* SPDX-License-Identifier: Apache-2.0 */
/* What the walkers of the type tables share: where a member's parts are. */
#ifndef MIGD_SCHEMA_INTERNAL_H
#define MIGD_SCHEMA_INTERNAL_H

#include "schema/reflect.h"

static inline const void *member_at(const void *v, const struct schema_member *m)
{
	return (const char *)v + m->offset;
}

static inline void *member_at_w(void *v, const struct schema_member *m)
{
	return (char *)v + m->offset;
}

static inline bool *member_has(void *v, const struct schema_member *m)
{
	return (bool *)((char *)v + m->offset_has);
}

static inline size_t *member_n(void *v, const struct schema_member *m)
{
	return (size_t *)((char *)v + m->offset_n);
}

/* An unsigned integer or enum of SIZE bytes. */
uint64_t schema_load_uint(const void *p, size_t size);
void schema_store_uint(void *p, size_t size, uint64_t v);

/* The members that a union's tag brings in, or NULL (also for what is no union). */
const struct schema_type *schema_branch(const struct schema_type *type, const void *v);

/* Which choice an alternate holds, or NULL. */
const struct schema_member *schema_choice(const struct schema_type *type, const void *v);

/* DST's member is all zero. */
int schema_copy_member(const struct schema_member *m, void *dst, const void *src);

#endif
