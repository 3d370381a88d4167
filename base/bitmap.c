/* SPDX-License-Identifier: Apache-2.0 */
/* Bitmaps of pages. */
#include "base/bitmap.h"

#include "base/bytes.h"

/* The mask of bits [lo, hi) of one word, 0 <= lo < hi <= 64. */
static uint64_t word_mask(uint64_t lo, uint64_t hi)
{
	uint64_t upto = hi == BITMAP_WORD_BITS ? UINT64_MAX : (1ULL << hi) - 1;

	return upto & (UINT64_MAX << lo);
}

/* Walk the words of a bit range: w is the word, m the mask of the range's bits in it. */
#define FOR_EACH_MASKED_WORD(w, m, first, n)                                                  \
	for (uint64_t _b = (first), _e = (first) + (n), w = 0, m = 0;                         \
	     _b < _e && (w = _b / BITMAP_WORD_BITS,                                           \
			m = word_mask(_b % BITMAP_WORD_BITS,                                  \
				      min_u64(BITMAP_WORD_BITS, _e - w * BITMAP_WORD_BITS)),  \
			true);                                                                \
	     _b = (w + 1) * BITMAP_WORD_BITS)

void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t n)
{
	FOR_EACH_MASKED_WORD(w, m, first, n)
		map[w] |= m;
}

void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t n)
{
	FOR_EACH_MASKED_WORD(w, m, first, n)
		map[w] &= ~m;
}

/* Relaxed: a map that others write to meanwhile can be searched, too, for bits of one's own. */
static uint64_t word_at(const uint64_t *map, uint64_t w)
{
	return __atomic_load_n(&map[w], __ATOMIC_RELAXED);
}

uint64_t bitmap_count_range(const uint64_t *map, uint64_t first, uint64_t n)
{
	uint64_t count = 0;

	FOR_EACH_MASKED_WORD(w, m, first, n)
		count += (uint64_t)__builtin_popcountll(word_at(map, w) & m);
	return count;
}

void bitmap_atomic_or_range(uint64_t *map, uint64_t first, uint64_t n)
{
	FOR_EACH_MASKED_WORD(w, m, first, n)
		(void)__atomic_fetch_or(&map[w], m, __ATOMIC_RELEASE);
}

uint64_t bitmap_atomic_claim_range(uint64_t *map, uint64_t first, uint64_t n)
{
	uint64_t fresh = 0;

	FOR_EACH_MASKED_WORD(w, m, first, n)
		fresh += (uint64_t)__builtin_popcountll(m & ~__atomic_fetch_or(&map[w], m, __ATOMIC_SEQ_CST));
	return fresh;
}

bool bitmap_atomic_any(const uint64_t *map, uint64_t first, uint64_t n)
{
	FOR_EACH_MASKED_WORD(w, m, first, n)
		if (__atomic_load_n(&map[w], __ATOMIC_SEQ_CST) & m)
			return true;
	return false;
}

uint64_t bitmap_atomic_clear_range(uint64_t *map, uint64_t first, uint64_t n)
{
	uint64_t cleared = 0;

	FOR_EACH_MASKED_WORD(w, m, first, n)
		cleared += (uint64_t)__builtin_popcountll(m & __atomic_fetch_and(&map[w], ~m, __ATOMIC_RELEASE));
	return cleared;
}

static uint64_t next(const uint64_t *map, uint64_t n_bits, uint64_t from, uint64_t flip)
{
	uint64_t w, v;

	if (from >= n_bits)
		return n_bits;
	w = from / BITMAP_WORD_BITS;
	v = (word_at(map, w) ^ flip) & (UINT64_MAX << (from % BITMAP_WORD_BITS));
	while (!v) {
		if (++w >= bitmap_words(n_bits))
			return n_bits;
		v = word_at(map, w) ^ flip;
	}
	return min_u64(n_bits, w * BITMAP_WORD_BITS + (uint64_t)__builtin_ctzll(v));
}

uint64_t bitmap_next_set(const uint64_t *map, uint64_t n_bits, uint64_t from)
{
	return next(map, n_bits, from, 0);
}

uint64_t bitmap_next_clear(const uint64_t *map, uint64_t n_bits, uint64_t from)
{
	return next(map, n_bits, from, UINT64_MAX);
}

uint64_t bitmap_atomic_take(uint64_t *dst, uint64_t *src, uint64_t n_bits)
{
	uint64_t fresh = 0, words = bitmap_words(n_bits), v, tail;

	tail = n_bits % BITMAP_WORD_BITS;
	for (uint64_t w = 0; w < words; w++) {
		if (!__atomic_load_n(&src[w], __ATOMIC_RELAXED))
			continue;
		v = __atomic_exchange_n(&src[w], 0, __ATOMIC_ACQUIRE);
		if (w == words - 1 && tail)
			v &= (1ULL << tail) - 1;
		fresh += (uint64_t)__builtin_popcountll(v & ~dst[w]);
		dst[w] |= v;
	}
	return fresh;
}
