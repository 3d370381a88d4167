/* SPDX-License-Identifier: Apache-2.0 */
/* Bitmaps of pages: 64-bit words, bit k of word w stands for page 64 * w + k. */
#ifndef MIGD_BASE_BITMAP_H
#define MIGD_BASE_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define BITMAP_WORD_BITS 64U

static inline uint64_t bitmap_words(uint64_t n_bits)
{
	return (n_bits + BITMAP_WORD_BITS - 1) / BITMAP_WORD_BITS;
}

static inline bool bitmap_test(const uint64_t *map, uint64_t bit)
{
	return map[bit / BITMAP_WORD_BITS] >> (bit % BITMAP_WORD_BITS) & 1;
}

static inline void bitmap_set(uint64_t *map, uint64_t bit)
{
	map[bit / BITMAP_WORD_BITS] |= 1ULL << (bit % BITMAP_WORD_BITS);
}

static inline void bitmap_clear(uint64_t *map, uint64_t bit)
{
	map[bit / BITMAP_WORD_BITS] &= ~(1ULL << (bit % BITMAP_WORD_BITS));
}

void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t n);
void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t n);

/* First set (or clear) bit in [from, n_bits), or n_bits. */
uint64_t bitmap_next_set(const uint64_t *map, uint64_t n_bits, uint64_t from);
uint64_t bitmap_next_clear(const uint64_t *map, uint64_t n_bits, uint64_t from);

/* Set bits in [first, first + n); others may write to the map meanwhile. */
uint64_t bitmap_count_range(const uint64_t *map, uint64_t first, uint64_t n);

/* OR the bits into a map that other threads or processes write too; release order. */
void bitmap_atomic_or_range(uint64_t *map, uint64_t first, uint64_t n);

/* The same, sequentially consistent: how many of them were not set before. */
uint64_t bitmap_atomic_claim_range(uint64_t *map, uint64_t first, uint64_t n);

/* Sequentially consistent, too. */
static inline bool bitmap_atomic_test(const uint64_t *map, uint64_t bit)
{
	return __atomic_load_n(&map[bit / BITMAP_WORD_BITS], __ATOMIC_SEQ_CST) >> (bit % BITMAP_WORD_BITS) & 1;
}

/* Whether any of them is set; sequentially consistent, too. */
bool bitmap_atomic_any(const uint64_t *map, uint64_t first, uint64_t n);

/* Clear them there; how many were set. */
uint64_t bitmap_atomic_clear_range(uint64_t *map, uint64_t first, uint64_t n);

/*
 * Move all bits of the shared SRC into DST (both N_BITS long): each word is taken by an acquire
 * exchange, so that a writer's OR is either moved or left for the next time. Bits beyond N_BITS in
 * the last word are dropped. Returns how many bits became set in DST that were not.
 */
uint64_t bitmap_atomic_take(uint64_t *dst, uint64_t *src, uint64_t n_bits);

#endif
