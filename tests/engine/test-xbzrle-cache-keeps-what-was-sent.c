/* SPDX-License-Identifier: Apache-2.0 */
/* The XBZRLE cache against a naive model: who has a place, for how long, and what a change of size leaves. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/xbzrle-cache.h"

#define PAGE XBZRLE_PAGE
#define N_PAGES 64U

static uint8_t page[PAGE];

static const uint8_t *contents(uint64_t number)
{
	memset(page, (int)(number * 7 + 1), PAGE);
	return page;
}

static void expect(struct xbzrle_cache *c, uint64_t number, uint64_t generation, bool there)
{
	const uint8_t *found = xbzrle_cache_find(c, number, generation);

	assert_int_equal(found != NULL, there);
	if (found)
		assert_memory_equal(found, contents(number), PAGE);
}

static void a_place_is_kept_for_two_generations(void **state)
{
	struct xbzrle_cache *c = xbzrle_cache_new(4 * PAGE, N_PAGES);

	(void)state;
	expect(c, 1, 5, false);
	assert_true(xbzrle_cache_insert(c, 1, 5, contents(1)));
	/* 5 and 9 have the place of 1. */
	assert_false(xbzrle_cache_insert(c, 5, 5, contents(5)));
	assert_false(xbzrle_cache_insert(c, 5, 6, contents(5)));
	expect(c, 1, 6, true); /* used again */
	assert_false(xbzrle_cache_insert(c, 5, 7, contents(5)));
	assert_true(xbzrle_cache_insert(c, 5, 8, contents(5)));
	expect(c, 1, 8, false);
	expect(c, 5, 8, true);
	assert_true(xbzrle_cache_insert(c, 2, 8, contents(2)));
	xbzrle_cache_drop(c, 1); /* is not there */
	expect(c, 5, 8, true);
	xbzrle_cache_drop(c, 5);
	expect(c, 5, 8, false);
	assert_true(xbzrle_cache_insert(c, 9, 8, contents(9)));
	xbzrle_cache_free(c);
}

static void size_changes_lose_no_more_than_they_must(void **state)
{
	struct xbzrle_cache *c = xbzrle_cache_new(8 * PAGE, N_PAGES);

	(void)state;
	for (uint64_t p = 0; p < 8; p++)
		assert_true(xbzrle_cache_insert(c, p, 10 + p % 4, contents(p)));
	assert_int_equal(xbzrle_cache_resize(c, 16 * PAGE), 0);
	for (uint64_t p = 0; p < 8; p++)
		expect(c, p, 10 + p % 4, true);
	/* Pages p and p + 4 share a place of four: the one used later stays. */
	expect(c, 6, 20, true);
	expect(c, 1, 20, true);
	assert_int_equal(xbzrle_cache_resize(c, 4 * PAGE), 0);
	expect(c, 6, 20, true);
	expect(c, 2, 20, false);
	expect(c, 1, 20, true);
	expect(c, 5, 20, false);
	assert_int_equal(xbzrle_cache_resize(c, PAGE), 0);
	xbzrle_cache_free(c);
}

static void more_than_the_guest_has_is_not_taken(void **state)
{
	/* As address space this could not be had. */
	struct xbzrle_cache *c = xbzrle_cache_new(1ULL << 62, N_PAGES);

	(void)state;
	assert_non_null(c);
	for (uint64_t p = 0; p < N_PAGES; p++)
		assert_true(xbzrle_cache_insert(c, p, 1, contents(p)));
	assert_int_equal(xbzrle_cache_resize(c, 1ULL << 63), 0);
	for (uint64_t p = 0; p < N_PAGES; p++)
		expect(c, p, 1, true);
	xbzrle_cache_free(c);
}

struct model {
	bool there[N_PAGES];
	uint64_t used[N_PAGES];
};

/* Who has the place of PAGE among N, or N_PAGES. */
static uint64_t owner(const struct model *m, uint64_t number, uint64_t n)
{
	for (uint64_t p = number % n; p < N_PAGES; p += n)
		if (m->there[p])
			return p;
	return N_PAGES;
}

static void as_the_model_says(void **state)
{
	const uint64_t n = 16;
	struct xbzrle_cache *c = xbzrle_cache_new(n * PAGE, N_PAGES);
	struct model m = { 0 };
	unsigned int seed = 9;
	uint64_t generation = 2, p, there;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		if (i % 50 == 0)
			generation++;
		p = (uint64_t)rand_r(&seed) % N_PAGES;
		expect(c, p, generation, m.there[p]);
		if (m.there[p]) {
			m.used[p] = generation;
			continue;
		}
		there = owner(&m, p, n);
		if (there < N_PAGES && m.used[there] + 2 > generation) {
			assert_false(xbzrle_cache_insert(c, p, generation, contents(p)));
			continue;
		}
		assert_true(xbzrle_cache_insert(c, p, generation, contents(p)));
		if (there < N_PAGES)
			m.there[there] = false;
		m.there[p] = true;
		m.used[p] = generation;
	}
	xbzrle_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_kept_for_two_generations),
		cmocka_unit_test(size_changes_lose_no_more_than_they_must),
		cmocka_unit_test(more_than_the_guest_has_is_not_taken),
		cmocka_unit_test(as_the_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
