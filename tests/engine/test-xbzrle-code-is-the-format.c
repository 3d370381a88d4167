/* SPDX-License-Identifier: Apache-2.0 */
/* XBZRLE: the format's examples, pages through encoder and decoder by every kernel, and codes that are refused. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/xbzrle.h"

#define PAGE XBZRLE_PAGE

static uint8_t old[PAGE], new[PAGE], code[PAGE + 16], page[PAGE + 64];

static void expect_code(const void *bytes, int len)
{
	assert_int_equal(xbzrle_encode(kernels_best(), old, new, code), len);
	assert_memory_equal(code, bytes, (size_t)len);
}

static void the_formats_examples(void **state)
{
	(void)state;
	memset(old, 0x11, PAGE);
	memcpy(new, old, PAGE);
	assert_int_equal(xbzrle_encode(kernels_best(), old, new, code), 0);
	new[0] = 0xaa;
	expect_code("\x00\x01\xaa", 3);
	new[0] = 0x11;
	new[200] = 0xaa;
	expect_code("\xc8\x01\x01\xaa", 4);
	new[200] = 0x11;
	new[PAGE - 1] = 0xaa;
	expect_code("\xff\x1f\x01\xaa", 4);
	memset(new, 0xaa, PAGE);
	assert_int_equal(xbzrle_encode(kernels_best(), old, new, code), -EOVERFLOW);
	/* 00, two bytes of length, 4093 of content: the most that fits. */
	memset(new + PAGE - 3, 0x11, 3);
	assert_int_equal(xbzrle_encode(kernels_best(), old, new, code), PAGE);
	assert_memory_equal(code, "\x00\xfd\x1f\xaa", 4);
}

static void a_gap_of_one_byte_is_closed(void **state)
{
	(void)state;
	memset(old, 0, PAGE);
	memset(new, 0, PAGE);
	new[62] = new[64] = new[66] = 1; /* over the edge of a word */
	expect_code("\x3e\x05\x01\x00\x01\x00\x01", 7);
	new[66] = 0;
	new[67] = 1; /* two bytes are a run */
	expect_code("\x3e\x03\x01\x00\x01\x02\x01\x01", 8);
}

/* Through the code and back; false: the code would be longer than the page. */
static bool round_trip(const struct kernels *k)
{
	const char *why = "";
	size_t at;
	int n = xbzrle_encode(k, old, new, code), scalar;
	uint8_t again[PAGE];

	scalar = xbzrle_encode(&kernels_scalar, old, new, again);
	assert_int_equal(n, scalar);
	if (n == -EOVERFLOW)
		return false;
	assert_true(n >= 0 && n <= (int)PAGE);
	assert_memory_equal(code, again, (size_t)n);
	memcpy(page, old, PAGE);
	if (n > 0 && xbzrle_decode(code, (size_t)n, page, &why, &at) < 0)
		fail_msg("%s: its own code %s at byte %zu", k->name, why, at);
	assert_memory_equal(page, new, PAGE);
	return true;
}

/* Changed bytes in runs of about CHANGED, RUN apart. */
static void scatter(unsigned int *seed, size_t changed, size_t apart)
{
	size_t at = (size_t)rand_r(seed) % (apart + 1), len;

	for (size_t i = 0; i < PAGE; i++)
		old[i] = new[i] = (uint8_t)rand_r(seed);
	while (at < PAGE) {
		len = 1 + (size_t)rand_r(seed) % changed;
		for (size_t i = at; i < at + len && i < PAGE; i++)
			new[i] = (uint8_t)(old[i] + 1 + rand_r(seed) % 255);
		at += len + 1 + (size_t)rand_r(seed) % apart;
	}
}

static void pages_come_back(void **state)
{
	static const size_t lengths[] = { 1, 2, 3, 8, 63, 64, 65, 127, 128, 129, 1000, 4096 };
	const size_t n = sizeof(lengths) / sizeof(lengths[0]);
	unsigned int seed = 7, fit = 0, too_long = 0;

	(void)state;
	for (const struct kernels *const *k = kernels_all(); *k; k++) {
		if (!(*k)->is_supported())
			continue;
		for (size_t i = 0; i < n * n * 6; i++) {
			scatter(&seed, lengths[i % n], lengths[i / n % n]);
			if (round_trip(*k))
				fit++;
			else
				too_long++;
		}
	}
	assert_true(fit > 100 && too_long > 100);
}

/* What each of these bytes is refused for, and where. */
static const struct {
	const char *code;
	size_t len;
	const char *why;
	size_t at;
} refused[] = {
	{ "", 0, "ends where a pair of runs begins", 0 },
	{ "\x00", 1, "ends where a pair of runs begins", 0 },
	{ "\x00\x00", 2, "has an empty run of new bytes", 0 },
	{ "\x00\x01", 2, "ends within a run of new bytes", 0 },
	{ "\x00\x01\xaa\x05", 4, "ends where a pair of runs begins", 3 },
	{ "\x00\x01\xaa\x00\x01\xaa", 6, "has an empty run of equal bytes", 3 },
	{ "\x80\x80\x01\xaa", 4, "has a malformed length", 0 },
	{ "\x05\x80\x80\xaa", 4, "has a malformed length", 0 },
	{ "\x05\x81", 2, "has a malformed length", 0 },
	{ "\x81\x20\x01\xaa", 4, "leaves the page with a run of equal bytes", 0 },
	{ "\x80\x20\x01\xaa", 4, "leaves the page with a run of new bytes", 0 },
	{ "\xff\x1f\x02\xaa\xaa", 5, "leaves the page with a run of new bytes", 0 },
	{ "\x00\x80\x20\xaa", 4, "ends within a run of new bytes", 0 },
	{ "\xff\x7f\x01\xaa", 4, "leaves the page with a run of equal bytes", 0 },
};

static void bad_codes_are_refused(void **state)
{
	const char *why;
	size_t at;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		memset(page, 0x33, sizeof(page));
		why = NULL;
		assert_int_equal(xbzrle_decode((const uint8_t *)refused[i].code, refused[i].len, page,
					       &why, &at), -EBADMSG);
		assert_string_equal(why, refused[i].why);
		assert_int_equal(at, refused[i].at);
		for (size_t b = PAGE; b < sizeof(page); b++)
			assert_int_equal(page[b], 0x33);
	}
}

/* Any cut of a good code is refused or decodes; nothing beyond the page is written. */
static void cuts_and_flips_stay_inside(void **state)
{
	unsigned int seed = 11;
	const char *why;
	size_t at;
	int n;

	(void)state;
	for (int round = 0; round < 200; round++) {
		scatter(&seed, 5, 300);
		n = xbzrle_encode(kernels_best(), old, new, code);
		assert_true(n > 0);
		for (int i = 0; i < 100; i++) {
			code[(size_t)rand_r(&seed) % (size_t)n] ^= (uint8_t)(1U << rand_r(&seed) % 8);
			memset(page + PAGE, 0x33, sizeof(page) - PAGE);
			(void)xbzrle_decode(code, (size_t)rand_r(&seed) % ((size_t)n + 1), page, &why, &at);
			for (size_t b = PAGE; b < sizeof(page); b++)
				assert_int_equal(page[b], 0x33);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_formats_examples),
		cmocka_unit_test(a_gap_of_one_byte_is_closed),
		cmocka_unit_test(pages_come_back),
		cmocka_unit_test(bad_codes_are_refused),
		cmocka_unit_test(cuts_and_flips_stay_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
