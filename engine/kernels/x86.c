/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels for x86-64: 16, 32 and 64 bytes at a time. SSE2 every such CPU has. */
#include "engine/kernels/kernels.h"

#ifdef __x86_64__

#include <immintrin.h>

/* The libraries' word, which asks CPUID and whether the kernel saves the registers (XGETBV). */
#define DEFINE_IS_SUPPORTED(isa)                             \
	static bool isa##_is_supported(void)                 \
	{                                                    \
		__builtin_cpu_init();                        \
		return __builtin_cpu_supports(#isa);         \
	}
DEFINE_IS_SUPPORTED(sse2)
DEFINE_IS_SUPPORTED(avx2)
DEFINE_IS_SUPPORTED(avx512bw)

/* What no vector is needed for: fewer than 64 bytes. */
static bool tail_is_zero(const uint8_t *p, size_t len)
{
	uint8_t any = 0;

	while (len)
		any |= p[--len];
	return !any;
}

/*
 * A glance at the first 64 bytes; then 256 at a time; then the last 256 again from the end, or by 64. ANY_OF_64(p) and
 * ANY_OF_256(p) are true if something there is not zero.
 */
#define DEFINE_IS_ZERO(isa)                                                          \
	static bool __attribute__((target(#isa))) isa##_is_zero(const void *start, size_t len) \
	{                                                                            \
		const uint8_t *p = start, *end = p + len;                            \
                                                                                     \
		if (len < KERNELS_GLANCE)                                            \
			return tail_is_zero(p, len);                                 \
		if (isa##_any_of_64(p))                                              \
			return false;                                                \
		for (; end - p >= 256; p += 256)                                     \
			if (isa##_any_of_256(p))                                     \
				return false;                                        \
		for (; end - p >= 64; p += 64)                                       \
			if (isa##_any_of_64(p))                                      \
				return false;                                        \
		return !isa##_any_of_64(end - 64);                                   \
	}

#define DEFINE_DIFF(isa)                                                             \
	static bool __attribute__((target(#isa)))                                    \
	isa##_diff(const uint8_t *a, const uint8_t *b, uint64_t ret[KERNELS_DIFF_WORDS]) \
	{                                                                            \
		uint64_t any = 0;                                                    \
                                                                                     \
		for (size_t w = 0; w < KERNELS_DIFF_WORDS; w++) {                    \
			ret[w] = isa##_diff_of_64(a + 64 * w, b + 64 * w);           \
			any |= ret[w];                                               \
		}                                                                    \
		return any != 0;                                                     \
	}

#define DEFINE_KERNELS(isa)                                                          \
	DEFINE_IS_ZERO(isa)                                                          \
	DEFINE_DIFF(isa)                                                             \
	const struct kernels kernels_##isa = { .name = #isa,                         \
					       .is_supported = isa##_is_supported,   \
					       .is_zero = isa##_is_zero,             \
					       .diff = isa##_diff };

#define INLINE(isa) static inline __attribute__((always_inline, target(#isa)))

/* ---- SSE2 ---- */

INLINE(sse2) __m128i sse2_or_of_64(const uint8_t *p)
{
	const __m128i *v = (const __m128i *)(const void *)p;

	return _mm_or_si128(_mm_or_si128(_mm_loadu_si128(v), _mm_loadu_si128(v + 1)),
			    _mm_or_si128(_mm_loadu_si128(v + 2), _mm_loadu_si128(v + 3)));
}

INLINE(sse2) bool sse2_any(__m128i v)
{
	return _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) != 0xffff;
}

INLINE(sse2) bool sse2_any_of_64(const uint8_t *p)
{
	return sse2_any(sse2_or_of_64(p));
}

INLINE(sse2) bool sse2_any_of_256(const uint8_t *p)
{
	return sse2_any(_mm_or_si128(_mm_or_si128(sse2_or_of_64(p), sse2_or_of_64(p + 64)),
				     _mm_or_si128(sse2_or_of_64(p + 128), sse2_or_of_64(p + 192))));
}

INLINE(sse2) uint64_t sse2_diff_of_64(const uint8_t *a, const uint8_t *b)
{
	const __m128i *x = (const __m128i *)(const void *)a, *y = (const __m128i *)(const void *)b;
	uint64_t same = 0;

	for (unsigned int i = 0; i < 4; i++)
		same |= (uint64_t)(uint32_t)_mm_movemask_epi8(
				_mm_cmpeq_epi8(_mm_loadu_si128(x + i), _mm_loadu_si128(y + i)))
			<< (16 * i);
	return ~same;
}

DEFINE_KERNELS(sse2)

/* ---- AVX2 ---- */

INLINE(avx2) __m256i avx2_or_of_64(const uint8_t *p)
{
	const __m256i *v = (const __m256i *)(const void *)p;

	return _mm256_or_si256(_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1));
}

INLINE(avx2) bool avx2_any_of_64(const uint8_t *p)
{
	__m256i v = avx2_or_of_64(p);

	return !_mm256_testz_si256(v, v);
}

INLINE(avx2) bool avx2_any_of_256(const uint8_t *p)
{
	__m256i v = _mm256_or_si256(_mm256_or_si256(avx2_or_of_64(p), avx2_or_of_64(p + 64)),
				    _mm256_or_si256(avx2_or_of_64(p + 128), avx2_or_of_64(p + 192)));

	return !_mm256_testz_si256(v, v);
}

INLINE(avx2) uint64_t avx2_diff_of_64(const uint8_t *a, const uint8_t *b)
{
	const __m256i *x = (const __m256i *)(const void *)a, *y = (const __m256i *)(const void *)b;
	uint32_t low = (uint32_t)_mm256_movemask_epi8(
		_mm256_cmpeq_epi8(_mm256_loadu_si256(x), _mm256_loadu_si256(y)));
	uint32_t high = (uint32_t)_mm256_movemask_epi8(
		_mm256_cmpeq_epi8(_mm256_loadu_si256(x + 1), _mm256_loadu_si256(y + 1)));

	return ~((uint64_t)high << 32 | low);
}

DEFINE_KERNELS(avx2)

/* ---- AVX-512 ---- */

INLINE(avx512bw) bool avx512bw_any_of_64(const uint8_t *p)
{
	__m512i v = _mm512_loadu_si512(p);

	return _mm512_test_epi64_mask(v, v) != 0;
}

INLINE(avx512bw) bool avx512bw_any_of_256(const uint8_t *p)
{
	__m512i v = _mm512_or_si512(_mm512_or_si512(_mm512_loadu_si512(p), _mm512_loadu_si512(p + 64)),
				    _mm512_or_si512(_mm512_loadu_si512(p + 128),
						    _mm512_loadu_si512(p + 192)));

	return _mm512_test_epi64_mask(v, v) != 0;
}

INLINE(avx512bw) uint64_t avx512bw_diff_of_64(const uint8_t *a, const uint8_t *b)
{
	return _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(a), _mm512_loadu_si512(b));
}

DEFINE_KERNELS(avx512bw)

#endif
