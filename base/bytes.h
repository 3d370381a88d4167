/* SPDX-License-Identifier: Apache-2.0 */
/* Byte order, checked arithmetic, and bounded cursors over untrusted bytes. */
#ifndef MIGD_BASE_BYTES_H
#define MIGD_BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KIB 1024ULL
#define MIB (1024ULL * KIB)
#define GIB (1024ULL * MIB)

/* Loads and stores at any alignment. */
#define DEFINE_LOAD_STORE(bits, order)                                          \
	static inline uint##bits##_t load_##order##bits(const void *p)          \
	{                                                                       \
		uint##bits##_t v;                                               \
		memcpy(&v, p, sizeof(v));                                       \
		return order##bits##toh(v);                                     \
	}                                                                       \
	static inline void store_##order##bits(void *p, uint##bits##_t v)       \
	{                                                                       \
		v = hto##order##bits(v);                                        \
		memcpy(p, &v, sizeof(v));                                       \
	}
DEFINE_LOAD_STORE(16, be)
DEFINE_LOAD_STORE(32, be)
DEFINE_LOAD_STORE(64, be)
DEFINE_LOAD_STORE(16, le)
DEFINE_LOAD_STORE(32, le)
DEFINE_LOAD_STORE(64, le)
#undef DEFINE_LOAD_STORE

/* False when the result does not fit; *ret is then unspecified. */
static inline bool add_ok(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}

static inline bool mul_ok(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret);
}

/* True if [start, start + len) lies inside [0, limit). */
static inline bool range_ok(uint64_t start, uint64_t len, uint64_t limit)
{
	return start <= limit && len <= limit - start;
}

static inline uint64_t round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * A reader that cannot step outside its bytes. A read past the end gives zeros and sets `bad`, which
 * stays set: check it once after a group of reads, before using what they gave.
 */
struct rcur {
	const uint8_t *p;
	size_t left;	/* bytes not read yet */
	bool bad;
};

static inline struct rcur rcur_of(const void *p, size_t len)
{
	return (struct rcur){ .p = p, .left = len };
}

/* LEN bytes in place, or NULL (and bad) when there are not that many. */
static inline const uint8_t *rcur_bytes(struct rcur *c, size_t len)
{
	const uint8_t *p = c->p;

	if (c->bad || len > c->left) {
		c->bad = true;
		return NULL;
	}
	c->p += len;
	c->left -= len;
	return p;
}

#define DEFINE_RCUR(name, type, load)                            \
	static inline type rcur_##name(struct rcur *c)           \
	{                                                        \
		const uint8_t *p = rcur_bytes(c, sizeof(type));  \
		return p ? load(p) : 0;                          \
	}
static inline uint8_t load_u8(const void *p)
{
	return *(const uint8_t *)p;
}
DEFINE_RCUR(u8, uint8_t, load_u8)
DEFINE_RCUR(be16, uint16_t, load_be16)
DEFINE_RCUR(be32, uint32_t, load_be32)
DEFINE_RCUR(be64, uint64_t, load_be64)
DEFINE_RCUR(le16, uint16_t, load_le16)
DEFINE_RCUR(le32, uint32_t, load_le32)
DEFINE_RCUR(le64, uint64_t, load_le64)
#undef DEFINE_RCUR

/* A writer into a fixed buffer; a write that does not fit is dropped and sets `bad` for good. */
struct wcur {
	uint8_t *p;
	size_t len;	/* bytes written */
	size_t cap;
	bool bad;
};

static inline struct wcur wcur_of(void *p, size_t cap)
{
	return (struct wcur){ .p = p, .cap = cap };
}

/* Room for LEN bytes, or NULL (and bad). */
static inline uint8_t *wcur_room(struct wcur *c, size_t len)
{
	uint8_t *p = c->p + c->len;

	if (c->bad || len > c->cap - c->len) {
		c->bad = true;
		return NULL;
	}
	c->len += len;
	return p;
}

static inline void wcur_bytes(struct wcur *c, const void *src, size_t len)
{
	uint8_t *p = wcur_room(c, len);

	if (p && len)
		memcpy(p, src, len);
}

#define DEFINE_WCUR(name, type, store)                              \
	static inline void wcur_##name(struct wcur *c, type v)      \
	{                                                           \
		uint8_t *p = wcur_room(c, sizeof(v));               \
		if (p)                                              \
			store(p, v);                                \
	}
static inline void store_u8(void *p, uint8_t v)
{
	*(uint8_t *)p = v;
}
DEFINE_WCUR(u8, uint8_t, store_u8)
DEFINE_WCUR(be16, uint16_t, store_be16)
DEFINE_WCUR(be32, uint32_t, store_be32)
DEFINE_WCUR(be64, uint64_t, store_be64)
DEFINE_WCUR(le16, uint16_t, store_le16)
DEFINE_WCUR(le32, uint32_t, store_le32)
DEFINE_WCUR(le64, uint64_t, store_le64)
#undef DEFINE_WCUR

#endif
