/* SPDX-License-Identifier: Apache-2.0 */
/* Every kernel that this CPU has gives what the scalar one gives: single bytes at every place, alignment and length, runs, noise. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "engine/kernels/kernels.h"

#define PAGE KERNELS_PAGE
#define LENGTHS 1100U	/* beyond four rounds of the widest loop */

/* Bytes of which the one after the last, and the one before the first, cannot be touched. */
static uint8_t *guarded(size_t len)
{
	size_t whole = (len + PAGE - 1) / PAGE * PAGE;
	uint8_t *p = mmap(NULL, whole + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + PAGE, whole, PROT_READ | PROT_WRITE), 0);
	return p + PAGE;
}

static void guarded_free(uint8_t *p, size_t len)
{
	assert_int_equal(munmap(p - PAGE, (len + PAGE - 1) / PAGE * PAGE + 2 * PAGE), 0);
}

static void fail_zero(const struct kernels *k, size_t at, size_t len, const char *what)
{
	fail_msg("%s: is_zero() of %zu bytes at offset %zu: %s", k->name, len, at, what);
}

/* The last LEN bytes before the guard, so that reading on would crash; and the first ones after the other guard. */
static void zero_of_every_length(const struct kernels *k)
{
	uint8_t *p = guarded(PAGE);

	for (size_t len = 0; len <= LENGTHS; len++) {
		if (!k->is_zero(p + PAGE - len, len) || !k->is_zero(p, len))
			fail_zero(k, 0, len, "zeros are not seen");
		if (len == 0)
			continue;
		for (size_t i = 0; i < len; i += len < 300 || i < 70 || i + 140 > len ? 1 : 13) {
			p[PAGE - len + i] = 0x80;
			if (k->is_zero(p + PAGE - len, len))
				fail_zero(k, i, len, "a byte was overlooked");
			p[PAGE - len + i] = 0;
		}
	}
	guarded_free(p, PAGE);
}

/* What lies just outside does not count. */
static void zero_at_every_alignment(const struct kernels *k)
{
	uint8_t *p = guarded(2 * PAGE);

	memset(p, 0xff, 2 * PAGE);
	for (size_t at = 1; at <= 128; at++) {
		memset(p + at, 0, PAGE);
		if (!k->is_zero(p + at, PAGE))
			fail_zero(k, at, PAGE, "a neighbour counted");
		if (k->is_zero(p + at - 1, PAGE) || k->is_zero(p + at, PAGE + 1))
			fail_zero(k, at, PAGE, "the first or last byte was overlooked");
		memset(p + at, 0xff, PAGE);
	}
	guarded_free(p, 2 * PAGE);
}

static void zero_of_noise(const struct kernels *k)
{
	uint8_t *p = guarded(PAGE);
	unsigned int seed = 3;

	for (int round = 0; round < 4000; round++) {
		size_t at = (size_t)rand_r(&seed) % PAGE, bit = (size_t)rand_r(&seed) % 8;

		p[at] = (uint8_t)(1U << bit);
		assert_int_equal(k->is_zero(p, PAGE), kernels_scalar.is_zero(p, PAGE));
		p[at] = 0;
	}
	assert_true(k->is_zero(p, PAGE));
	guarded_free(p, PAGE);
}

static void expect_same_diff(const struct kernels *k, const uint8_t *a, const uint8_t *b)
{
	uint64_t got[KERNELS_DIFF_WORDS], want[KERNELS_DIFF_WORDS] = { 0 };
	bool any = false;

	/* Byte by byte: what the header says. */
	for (size_t i = 0; i < PAGE; i++)
		if (a[i] != b[i]) {
			bitmap_set(want, i);
			any = true;
		}
	memset(got, 0x5a, sizeof(got));
	assert_int_equal(k->diff(a, b, got), any);
	if (memcmp(got, want, sizeof(got)) != 0)
		fail_msg("%s: diff() is not what differs", k->name);
}

static void diff_of_single_bytes(const struct kernels *k)
{
	uint8_t *a = guarded(PAGE), *b = guarded(PAGE);

	memset(a, 0x7f, PAGE);
	memset(b, 0x7f, PAGE);
	expect_same_diff(k, a, b);
	for (size_t i = 0; i < PAGE; i++) {
		b[i] = (uint8_t)(i & 1 ? 0xff : 0x7e); /* one bit: the highest or the lowest */
		expect_same_diff(k, a, b);
		b[i] = 0x7f;
	}
	guarded_free(a, PAGE);
	guarded_free(b, PAGE);
}

/* The last round: all bytes, then every second one, runs of each length from each alignment. */
static void diff_of_runs(const struct kernels *k)
{
	uint8_t *a = guarded(PAGE), *b = guarded(PAGE);
	static const size_t lengths[] = { 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129 };

	for (size_t n = 0; n < sizeof(lengths) / sizeof(lengths[0]); n++)
		for (size_t at = 0; at < 130; at++) {
			memset(b, 0, PAGE);
			for (size_t from = at; from + lengths[n] <= PAGE; from += 2 * lengths[n])
				memset(b + from, 1, lengths[n]);
			expect_same_diff(k, a, b);
		}
	memset(b, 0xff, PAGE);
	expect_same_diff(k, a, b);
	guarded_free(a, PAGE);
	guarded_free(b, PAGE);
}

static void diff_of_noise(const struct kernels *k)
{
	uint8_t *a = guarded(2 * PAGE), *b = guarded(2 * PAGE);
	unsigned int seed = 5;

	for (int round = 0; round < 300; round++) {
		size_t skew = (size_t)rand_r(&seed) % 64, sparse = 1 + (size_t)rand_r(&seed) % 200;

		for (size_t i = 0; i < 2 * PAGE; i++)
			a[i] = b[i] = (uint8_t)rand_r(&seed);
		for (size_t i = 0; i < 2 * PAGE; i += 1 + (size_t)rand_r(&seed) % sparse)
			b[i] = (uint8_t)rand_r(&seed);
		memmove(b + skew, b, PAGE);
		memmove(a + skew / 2, a, PAGE);
		expect_same_diff(k, a + skew / 2, b + skew);
	}
	guarded_free(a, 2 * PAGE);
	guarded_free(b, 2 * PAGE);
}

static void on_each(void (*check)(const struct kernels *))
{
	for (const struct kernels *const *k = kernels_all(); *k; k++)
		if ((*k)->is_supported())
			check(*k);
}

#define ON_EACH(check)                        \
	static void each_##check(void **state) \
	{                                     \
		(void)state;                  \
		on_each(check);               \
	}
ON_EACH(zero_of_every_length)
ON_EACH(zero_at_every_alignment)
ON_EACH(zero_of_noise)
ON_EACH(diff_of_single_bytes)
ON_EACH(diff_of_runs)
ON_EACH(diff_of_noise)

static void the_widest_is_chosen(void **state)
{
	const struct kernels *const *k = kernels_all();

	(void)state;
	for (; *k; k++)
		printf("# %s: %s\n", (*k)->name, (*k)->is_supported() ? "compared" : "not on this CPU");
	for (k = kernels_all(); !(*k)->is_supported(); k++)
		;
	assert_ptr_equal(kernels_best(), *k);
	assert_ptr_equal(kernels_best(), *k);
	while (k[1])
		k++;
	assert_ptr_equal(*k, &kernels_scalar);
	assert_true(kernels_scalar.is_supported());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_widest_is_chosen),
		cmocka_unit_test(each_zero_of_every_length),
		cmocka_unit_test(each_zero_at_every_alignment),
		cmocka_unit_test(each_zero_of_noise),
		cmocka_unit_test(each_diff_of_single_bytes),
		cmocka_unit_test(each_diff_of_runs),
		cmocka_unit_test(each_diff_of_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
