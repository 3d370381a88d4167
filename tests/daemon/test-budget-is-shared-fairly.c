/* SPDX-License-Identifier: Apache-2.0 */
/* The host's bandwidth is divided by weight, never more than there is of it, and nothing that somebody could use is lost. */
/* LIBS: migd_daemon */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "daemon/budget.h"

#define ALL BUDGET_WISH_ALL
#define MAX_CLAIMS 4
#define GUESTS_MAX 4096

struct want {
	int priority;
	uint64_t cap, wish, share;
};

static const struct {
	const char *what;
	uint64_t budget;
	size_t n;
	struct want wants[MAX_CLAIMS];
} cases[] = {
	{ "one has all of it", 1000, 1, { { 0, 0, ALL, 1000 } } },
	{ "also one that wishes little: it may come to wish more", 1000, 1, { { 0, 0, 10, 1000 } } },
	{ "one with a limit of its own", 1000, 1, { { 0, 300, ALL, 300 } } },
	{ "a limit above the budget is none", 1000, 1, { { 0, 5000, ALL, 1000 } } },
	{ "equals", 1000, 2, { { 0, 0, ALL, 500 }, { 0, 0, ALL, 500 } } },
	{ "a step of priority is twice as much", 3000, 2, { { 1, 0, ALL, 2000 }, { 0, 0, ALL, 1000 } } },
	{ "wherever the steps are", 7000, 3, { { -8, 0, ALL, 1000 }, { -7, 0, ALL, 2000 }, { -6, 0, ALL, 4000 } } },
	{ "what a cap leaves is the others'", 3000, 3, { { 0, 600, ALL, 600 }, { 0, 0, ALL, 1200 }, { 0, 0, ALL, 1200 } } },
	{ "by weight, too", 3300, 3, { { 0, 300, ALL, 300 }, { 1, 0, ALL, 2000 }, { 0, 0, ALL, 1000 } } },
	{ "what a small wish leaves is the others'", 1000, 2, { { 0, 0, 100, 100 }, { 0, 0, ALL, 900 } } },
	{ "but an eighth of one's part stays", 1600, 2, { { 0, 0, 0, 100 }, { 0, 0, ALL, 1500 } } },
	{ "unless its own limit is lower", 1600, 2, { { 0, 10, 0, 10 }, { 0, 0, ALL, 1590 } } },
	{ "more than all wish is divided as well", 1000, 2, { { 0, 0, 100, 450 }, { 0, 0, 200, 550 } } },
	{ "up to their limits", 1000, 2, { { 0, 150, 100, 150 }, { 0, 0, 200, 850 } } },
	{ "all limits together are below the budget", 1000, 2, { { 3, 100, ALL, 100 }, { 0, 200, ALL, 200 } } },
	{ "a wish for more than one's part gives no more", 1000, 2, { { 0, 0, 800, 500 }, { 0, 0, 900, 500 } } },
	{ "the greedy get what is left by two", 1200, 4,
	  { { 0, 0, 100, 100 }, { 0, 0, 200, 200 }, { 0, 0, ALL, 450 }, { 0, 0, ALL, 450 } } },
	{ "nobody starves", 100 << 20, 2, { { 8, 0, ALL, 104793639 }, { -8, 0, ALL, 63961 } } },
	{ "nor does that take much", 16 << 10, 2, { { 8, 0, ALL, 15420 }, { -8, 0, ALL, 964 } } },
	{ "a budget without a byte for each", 2, 3, { { 0, 0, ALL, 1 }, { 0, 0, ALL, 1 }, { 0, 0, ALL, 1 } } },
	{ "the largest numbers", UINT64_MAX, 2, { { 8, 0, ALL, 0 }, { 8, UINT64_MAX, ALL, 0 } } },
};

static uint64_t sum_of(const struct budget_claim *claims, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		assert_true(claims[i].share_bps <= UINT64_MAX - sum);
		sum += claims[i].share_bps;
	}
	return sum;
}

static void test_table(void **state)
{
	struct budget_claim claims[MAX_CLAIMS];
	const struct want *w;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t k = 0; k < cases[i].n; k++) {
			w = &cases[i].wants[k];
			claims[k] = (struct budget_claim){ .owner = (void *)(uintptr_t)w,
							   .weight = budget_weight(w->priority),
							   .cap_bps = w->cap,
							   .wish_bps = w->wish };
		}
		budget_divide(cases[i].budget, claims, cases[i].n);
		for (size_t k = 0; k < cases[i].n; k++) {
			w = claims[k].owner;
			if (w->share && claims[k].share_bps != w->share)
				fail_msg("%s: claim %zu gets %llu instead of %llu", cases[i].what,
					 (size_t)(w - cases[i].wants), (unsigned long long)claims[k].share_bps,
					 (unsigned long long)w->share);
		}
		if (cases[i].budget >= cases[i].n)
			assert_true(sum_of(claims, cases[i].n) <= cases[i].budget);
	}
}

static void test_halves_of_the_largest(void **state)
{
	struct budget_claim claims[2] = { { .weight = budget_weight(8), .wish_bps = ALL },
					  { .weight = budget_weight(8), .wish_bps = ALL, .cap_bps = UINT64_MAX } };

	(void)state;
	budget_divide(UINT64_MAX, claims, 2);
	assert_true(sum_of(claims, 2) == UINT64_MAX);
	assert_true(claims[0].share_bps >= UINT64_MAX / 2 && claims[1].share_bps >= UINT64_MAX / 2);
}

/* The rules, whatever the numbers: for each count of migrations up to the most there can be. */
static void test_rules_hold_for_any(void **state)
{
	struct budget_claim *claims = calloc(GUESTS_MAX, sizeof(*claims));
	uint64_t budget, sum, capped;
	bool wants_more;

	(void)state;
	assert_non_null(claims);
	srandom(2604);
	for (size_t n = 1; n <= GUESTS_MAX; n = n < 64 ? n + 1 : n * 2) {
		for (int round = 0; round < 20; round++) {
			budget = (uint64_t)random() * (round % 2 ? 1 : 1000) + n;
			for (size_t i = 0; i < n; i++)
				claims[i] = (struct budget_claim){
					.weight = budget_weight((int)(random() % 17) - 8),
					.cap_bps = random() % 3 ? 0 : (uint64_t)random() % (budget + 1),
					.wish_bps = random() % 2 ? ALL : (uint64_t)random() % budget,
				};
			budget_divide(budget, claims, n);
			sum = capped = 0;
			wants_more = false;
			for (size_t i = 0; i < n; i++) {
				const struct budget_claim *c = &claims[i];

				assert_true(c->share_bps >= 1);
				assert_true(!c->cap_bps || c->share_bps <= c->cap_bps);
				sum += c->share_bps > 1 ? c->share_bps : 0;
				capped += c->cap_bps && c->share_bps == c->cap_bps;
				wants_more |= !c->cap_bps || c->share_bps < c->cap_bps;
			}
			assert_true(sum <= budget);
			/* Nothing is left over but what rounding lost, while somebody could have had it. */
			assert_true(!wants_more || capped == n || sum + 2 * n >= budget);
		}
	}
	free(claims);
}

/* Two that want all they can get have the same for each unit of weight. */
static void test_the_greedy_are_equal(void **state)
{
	struct budget_claim *claims = calloc(GUESTS_MAX, sizeof(*claims));
	uint64_t each = 0, mine;

	(void)state;
	assert_non_null(claims);
	for (size_t i = 0; i < GUESTS_MAX; i++)
		claims[i] = (struct budget_claim){ .weight = budget_weight((int)(i % 17) - 8),
						   .wish_bps = i % 5 ? ALL : 1000 + i };
	budget_divide(1ULL << 50, claims, GUESTS_MAX);
	for (size_t i = 0; i < GUESTS_MAX; i++) {
		if (claims[i].wish_bps != ALL)
			continue;
		mine = claims[i].share_bps / claims[i].weight;
		if (!each)
			each = mine;
		assert_in_range(mine, each - each / 100, each + each / 100);
	}
	free(claims);
}

static void test_a_wish_falls_slowly_and_rises_at_once(void **state)
{
	uint64_t wish = ALL;
	int periods;

	(void)state;
	assert_true(budget_wish(0, 100, 100, true) == ALL);
	assert_true(budget_wish(100, 1000, 400, false) == 500);
	assert_true(budget_wish(0, 0, UINT64_MAX, false) == UINT64_MAX);
	for (periods = 0; wish > 100; periods++)
		wish = budget_wish(wish, 1000, 0, false);
	assert_in_range(periods, 3, 10);
}

static void test_small_changes_are_no_news(void **state)
{
	(void)state;
	assert_false(budget_is_news(0, 0));
	assert_true(budget_is_news(0, 1));
	assert_true(budget_is_news(UINT64_MAX, 0));
	assert_false(budget_is_news(1600, 1500));
	assert_false(budget_is_news(1600, 1700));
	assert_true(budget_is_news(1600, 1499));
	assert_true(budget_is_news(1600, 1701));
	assert_true(budget_is_news(1, UINT64_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_halves_of_the_largest),
		cmocka_unit_test(test_rules_hold_for_any),
		cmocka_unit_test(test_the_greedy_are_equal),
		cmocka_unit_test(test_a_wish_falls_slowly_and_rises_at_once),
		cmocka_unit_test(test_small_changes_are_no_news),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
