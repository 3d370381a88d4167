/* SPDX-License-Identifier: Apache-2.0 */
/* How a migration comes to its end: tables of passes, and the properties that hold for all. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "engine/strategy.h"

#define PRECOPY MIGRATION_STRATEGY_PRECOPY
#define POSTCOPY MIGRATION_STRATEGY_POSTCOPY
#define AUTO MIGRATION_STRATEGY_AUTO

struct pass {
	uint64_t at_ms;
	uint64_t before_mib, left_mib;
	bool fits;
	unsigned int throttle;
	enum strategy_action action;
};

/* At 100 MiB/s, at most 300 ms of downtime, throttled by at most 90 %. */
static struct strategy_input input_of(const struct pass *p)
{
	return (struct strategy_input){
		.elapsed_ms = p->at_ms,
		.before_bytes = p->before_mib * MIB,
		.left_bytes = p->left_mib * MIB,
		.bandwidth_bps = 100 * MIB,
		.limit_ms = 300,
		.fits = p->fits,
		.throttle_percent = p->throttle,
		.throttle_max_percent = 90,
	};
}

static void run(const struct strategy_rules *rules, const struct pass *passes, size_t n)
{
	char reason[DECISION_REASON_MAX];
	struct strategy s = { 0 };

	for (size_t i = 0; i < n; i++) {
		struct strategy_input in = input_of(&passes[i]);
		enum strategy_action action = strategy_after_pass(&s, rules, &in, reason);

		if (action != passes[i].action)
			fail_msg("pass %zu: %d, not %d: %s", i + 1, action, passes[i].action, reason);
		assert_true((action == STRATEGY_GO_ON) == (reason[0] == '\0'));
	}
}

#define RUN(rules, passes) run(&(struct strategy_rules)rules, passes, ARRAY_SIZE(passes))
#define R(...) { __VA_ARGS__ }

static void test_precopy_goes_on_until_it_fits(void **state)
{
	static const struct pass passes[] = {
		{ 10000, 1000, 900, .action = STRATEGY_GO_ON },
		{ 20000, 900, 900, .action = STRATEGY_GO_ON },
		{ 30000, 900, 900, .action = STRATEGY_GO_ON },
		{ 40000, 900, 900, .action = STRATEGY_GO_ON },
		{ 50000, 900, 10, true, .action = STRATEGY_SWITCH },
	};

	(void)state;
	RUN(R(PRECOPY, 0, true, true), passes);
}

static void test_postcopy_comes_after_one_pass(void **state)
{
	static const struct pass passes[] = { { 10000, 1000, 500, .action = STRATEGY_POSTCOPY } };
	static const struct pass fits[] = { { 10000, 1000, 1, true, .action = STRATEGY_SWITCH } };
	static const struct pass impossible[] = {
		{ 10000, 1000, 500, .action = STRATEGY_GO_ON },
		{ 15000, 500, 500, .action = STRATEGY_GO_ON },
	};

	(void)state;
	RUN(R(POSTCOPY, 0, true, false), passes);
	RUN(R(POSTCOPY, 0, true, false), fits);
	RUN(R(POSTCOPY, 0, false, false), impossible);
}

static void test_auto_stays_with_what_converges(void **state)
{
	static const struct pass passes[] = {
		{ 10000, 1000, 700, .action = STRATEGY_GO_ON }, { 17000, 700, 490, .action = STRATEGY_GO_ON },
		{ 22000, 490, 480, .action = STRATEGY_GO_ON }, /* a burst */
		{ 27000, 480, 300, .action = STRATEGY_GO_ON }, { 30000, 300, 299, .action = STRATEGY_GO_ON },
		{ 33000, 299, 20, true, .action = STRATEGY_SWITCH },
	};

	(void)state;
	RUN(R(AUTO, 0, true, true), passes);
}

static void test_auto_goes_to_postcopy(void **state)
{
	static const struct pass passes[] = {
		{ 10000, 1000, 750, .action = STRATEGY_GO_ON },
		{ 17500, 750, 740, .action = STRATEGY_POSTCOPY },
	};

	(void)state;
	RUN(R(AUTO, 0, true, false), passes);
}

static void test_auto_throttles_first(void **state)
{
	static const struct pass passes[] = {
		{ 10000, 1000, 900, .action = STRATEGY_GO_ON },
		{ 19000, 900, 900, .action = STRATEGY_THROTTLE },
		/* What that brings is to be seen in two passes after it. */
		{ 28000, 900, 800, .throttle = 20, .action = STRATEGY_GO_ON },
		{ 36000, 800, 790, .throttle = 20, .action = STRATEGY_GO_ON },
		{ 44000, 790, 780, .throttle = 20, .action = STRATEGY_THROTTLE },
		/* Something else throttled it, too. */
		{ 52000, 780, 770, .throttle = 90, .action = STRATEGY_GO_ON },
		{ 60000, 770, 760, .throttle = 90, .action = STRATEGY_GO_ON },
		{ 68000, 760, 750, .throttle = 90, .action = STRATEGY_POSTCOPY },
	};
	static const struct pass without[] = {
		{ 10000, 1000, 900, .throttle = 90, .action = STRATEGY_GO_ON },
		{ 19000, 900, 900, .throttle = 90, .action = STRATEGY_GO_ON },
		{ 28000, 900, 900, .throttle = 90, .action = STRATEGY_GO_ON },
		{ 37000, 900, 900, .throttle = 90, .action = STRATEGY_GO_ON },
	};

	(void)state;
	RUN(R(AUTO, 0, true, true), passes);
	RUN(R(AUTO, 0, false, true), without);
}

static void test_a_deadline_brings_postcopy_forward(void **state)
{
	/* One more pass of 9 s, and 8.1 s of post-copy after it, with a margin: not in 20 s, though it is the first that stalls. */
	static const struct pass late[] = { { 10000, 1000, 900, .action = STRATEGY_POSTCOPY } };
	static const struct pass early[] = {
		{ 10000, 1000, 900, .action = STRATEGY_GO_ON },
		{ 19000, 900, 700, .action = STRATEGY_POSTCOPY }, /* 7 s + 5.4 s */
	};
	/* It converges, and 2 s, 0.4 s, ... are soon enough. */
	static const struct pass converges[] = {
		{ 10000, 1000, 200, .action = STRATEGY_GO_ON },
		{ 12000, 200, 40, .action = STRATEGY_GO_ON },
		{ 12400, 40, 8, true, .action = STRATEGY_SWITCH },
	};

	(void)state;
	RUN(R(AUTO, 30000, true, false), late);
	RUN(R(AUTO, 34000, true, false), early);
	RUN(R(AUTO, 13000, true, false), converges);
}

static void test_a_deadline_ends_what_cannot_be_done(void **state)
{
	static const struct pass passes[] = {
		{ 10000, 1000, 900, .action = STRATEGY_GO_ON },
		{ 19000, 900, 900, .action = STRATEGY_GO_ON },
		{ 28000, 900, 900, .action = STRATEGY_GO_ON },
		{ 37000, 900, 900, .action = STRATEGY_GIVE_UP },
	};
	static const struct pass throttled[] = {
		{ 10000, 1000, 900, .action = STRATEGY_GO_ON },
		{ 19000, 900, 900, .action = STRATEGY_THROTTLE },
		{ 37000, 900, 900, .throttle = 20, .action = STRATEGY_GIVE_UP },
	};

	(void)state;
	RUN(R(PRECOPY, 30000, true, true), passes);
	RUN(R(AUTO, 30000, false, false), passes);
	RUN(R(AUTO, 30000, false, true), throttled);
}

/* Further passes would make the blackout shorter, but there is no time for them. */
static void test_what_fits_goes_before_the_deadline(void **state)
{
	static const struct pass passes[] = {
		{ 10000, 1000, 25, .action = STRATEGY_GO_ON },
		{ 10300, 25, 20, .action = STRATEGY_SWITCH },
	};

	(void)state;
	RUN(R(PRECOPY, 11000, false, false), passes);
}

static enum strategy_action in_pass(enum migration_strategy strategy, bool postcopy, uint64_t deadline_ms, uint64_t at_ms,
				    uint64_t left_mib, uint64_t bandwidth_mib)
{
	struct strategy_rules rules = { strategy, deadline_ms, postcopy, true };
	struct strategy_input in = {
		.elapsed_ms = at_ms, .left_bytes = left_mib * MIB, .bandwidth_bps = bandwidth_mib * MIB, .limit_ms = 300
	};
	char reason[DECISION_REASON_MAX];

	return strategy_in_pass(&rules, &in, reason);
}

static void test_in_mid_pass_the_deadline_counts(void **state)
{
	(void)state;
	assert_int_equal(in_pass(AUTO, true, 0, 1000000, 1000, 1), STRATEGY_GO_ON);
	assert_int_equal(in_pass(PRECOPY, true, 10000, 9999, 1000, 1), STRATEGY_GO_ON);
	assert_int_equal(in_pass(PRECOPY, true, 10000, 10000, 1000, 1), STRATEGY_GIVE_UP);
	assert_int_equal(in_pass(AUTO, false, 10000, 10000, 1000, 1), STRATEGY_GIVE_UP);
	assert_int_equal(in_pass(AUTO, true, 10000, 10000, 1000, 0), STRATEGY_POSTCOPY);
	/* 4 s, and a quarter, and 0.3 s: up to 4.7 s. */
	assert_int_equal(in_pass(AUTO, true, 10000, 4600, 400, 100), STRATEGY_GO_ON);
	assert_int_equal(in_pass(AUTO, true, 10000, 4800, 400, 100), STRATEGY_POSTCOPY);
	assert_int_equal(in_pass(POSTCOPY, true, 10000, 4800, 400, 100), STRATEGY_POSTCOPY);
	/* How fast it goes is not known yet. */
	assert_int_equal(in_pass(AUTO, true, 10000, 9000, 400, 0), STRATEGY_GO_ON);
}

/* Whatever the numbers: nothing that is not allowed, and a reason for everything. */
static void test_nothing_that_is_not_allowed(void **state)
{
	static const uint64_t numbers[] = { 0, 1, 2, 3, 1000, 30000, 1ULL << 31, 1ULL << 40, 1ULL << 62, UINT64_MAX };

	(void)state;
	srand(7);
#define ANY numbers[(unsigned int)rand() % ARRAY_SIZE(numbers)]
	for (unsigned int i = 0; i < 300000; i++) {
		struct strategy s = { .stalled = (unsigned int)rand() % 3 };
		struct strategy_rules rules = { (enum migration_strategy)(1 + rand() % 3), ANY, rand() & 1, rand() & 1 };
		struct strategy_input in = {
			.elapsed_ms = ANY, .before_bytes = ANY, .left_bytes = ANY, .bandwidth_bps = ANY, .limit_ms = ANY,
			.fits = rand() % 4 == 0, .throttle_percent = (unsigned int)rand() % 100, .throttle_max_percent = 90,
		};
		char reason[DECISION_REASON_MAX];
		bool after = rand() & 1;
		enum strategy_action a = after ? strategy_after_pass(&s, &rules, &in, reason) :
						 strategy_in_pass(&rules, &in, reason);

		assert_true((a == STRATEGY_GO_ON) == (reason[0] == '\0'));
		assert_true(strlen(reason) < DECISION_REASON_MAX);
		if (a == STRATEGY_POSTCOPY)
			assert_true(rules.postcopy && rules.strategy != PRECOPY);
		if (a == STRATEGY_THROTTLE)
			assert_true(rules.throttle && rules.strategy == AUTO && in.throttle_percent < 90);
		if (a == STRATEGY_GIVE_UP)
			assert_true(rules.deadline_ms > 0 && in.elapsed_ms >= rules.deadline_ms);
		if (in.fits && after)
			assert_int_equal(a, STRATEGY_SWITCH);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_precopy_goes_on_until_it_fits),
		cmocka_unit_test(test_postcopy_comes_after_one_pass),
		cmocka_unit_test(test_auto_stays_with_what_converges),
		cmocka_unit_test(test_auto_goes_to_postcopy),
		cmocka_unit_test(test_auto_throttles_first),
		cmocka_unit_test(test_a_deadline_brings_postcopy_forward),
		cmocka_unit_test(test_a_deadline_ends_what_cannot_be_done),
		cmocka_unit_test(test_what_fits_goes_before_the_deadline),
		cmocka_unit_test(test_in_mid_pass_the_deadline_counts),
		cmocka_unit_test(test_nothing_that_is_not_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
