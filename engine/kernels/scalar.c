/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels in plain C: what the others are compared with, and what CPUs without vectors use. */
#include "engine/kernels/kernels.h"

#include <string.h>

static bool is_supported(void)
{
	return true;
}

static uint64_t load(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool is_zero(const void *p, size_t len)
{
	const uint8_t *b = p, *end = b + len;
	uint64_t any = 0;

	for (; end - b >= 64 && !any; b += 64)
		any = load(b) | load(b + 8) | load(b + 16) | load(b + 24) | load(b + 32) | load(b + 40) |
		      load(b + 48) | load(b + 56);
	for (; b < end && !any; b++)
		any = *b;
	return !any;
}

/* A bit for each of eight bytes that is not zero, in the order of memory. */
static uint64_t nonzero_bytes(const uint8_t *a, const uint8_t *b)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; i < 8; i++)
		bits |= (uint64_t)(a[i] != b[i]) << i;
	return bits;
}

static bool diff(const uint8_t *a, const uint8_t *b, uint64_t ret[KERNELS_DIFF_WORDS])
{
	uint64_t any = 0, bits;

	for (size_t w = 0; w < KERNELS_DIFF_WORDS; w++, a += 64, b += 64) {
		bits = 0;
		for (unsigned int i = 0; i < 64; i += 8)
			if (load(a + i) != load(b + i))
				bits |= nonzero_bytes(a + i, b + i) << i;
		ret[w] = bits;
		any |= bits;
	}
	return any != 0;
}

const struct kernels kernels_scalar = {
	.name = "scalar", .is_supported = is_supported, .is_zero = is_zero, .diff = diff
};
