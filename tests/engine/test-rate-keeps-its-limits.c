/* SPDX-License-Identifier: Apache-2.0 */
/* The bandwidth limit: the smaller one of two, never exceeded for long, and a lower one is no punishment for what was before. */
/* LIBS: migd_engine migd_base */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "base/clock.h"
#include "engine/rate.h"

#define MB 1000000ULL

static struct rate rate;
static _Atomic uint64_t waited_us;

static int set_up(void **state)
{
	(void)state;
	waited_us = 0;
	assert_int_equal(rate_init(&rate), 0);
	rate.waited_us = &waited_us;
	return 0;
}

/* Milliseconds that it takes to spend BYTES in pieces. */
static uint64_t spend_ms(uint64_t bytes, uint64_t piece)
{
	uint64_t start_ns = clock_now_ns();

	for (uint64_t sent = 0; sent < bytes; sent += piece)
		assert_int_equal(rate_spend(&rate, piece, -1), 0);
	return (clock_now_ns() - start_ns) / NS_PER_MS;
}

static void test_no_limit(void **state)
{
	(void)state;
	assert_true(rate_allowance(&rate) == UINT64_MAX);
	assert_in_range(spend_ms(1000 * MB, MB), 0, 100);
	assert_int_equal(waited_us, 0);
}

static void test_the_smaller_one_counts(void **state)
{
	(void)state;
	rate.limit_bps = 100 * MB;
	assert_int_equal(rate_allowance(&rate), 10 * MB);
	rate.share_bps = 10 * MB;
	assert_int_equal(rate_allowance(&rate), MB);
	rate.limit_bps = 0;
	assert_int_equal(rate_allowance(&rate), MB);
	rate.limit_bps = 5 * MB;
	assert_int_equal(rate_allowance(&rate), MB / 2);
	/* Six windows; the first one may be nearly over. */
	assert_in_range(spend_ms(3 * MB, MB / 10), 390, 3000);
	assert_in_range(waited_us, 350000, 3000000);
}

static void test_what_is_not_used_is_lost(void **state)
{
	const struct timespec idle = { .tv_nsec = 500 * NS_PER_MS };

	(void)state;
	rate.limit_bps = MB;
	assert_int_equal(rate_spend(&rate, MB / 10, -1), 0);
	(void)nanosleep(&idle, NULL);
	/* At most two windows at once: the one that ends just now, and the next. */
	assert_in_range(spend_ms(MB / 2, MB / 10), 250, 3000);
}

/* What was spent under a high limit is not worked off under a low one. */
static void test_a_lower_limit(void **state)
{
	(void)state;
	rate.limit_bps = 1000 * MB;
	(void)spend_ms(99 * MB, MB);
	rate.share_bps = MB / 10;
	assert_in_range(spend_ms(1000, 1000), 0, 1000);
	/* Then it holds. */
	assert_in_range(spend_ms(50000, 1000), 300, 3000);
}

static void test_a_higher_limit(void **state)
{
	(void)state;
	rate.limit_bps = MB / 10;
	assert_int_equal(rate_spend(&rate, MB, -1), 0);
	rate.limit_bps = 100 * MB;
	assert_in_range(spend_ms(MB, 1000), 0, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_no_limit, set_up),
		cmocka_unit_test_setup(test_the_smaller_one_counts, set_up),
		cmocka_unit_test_setup(test_what_is_not_used_is_lost, set_up),
		cmocka_unit_test_setup(test_a_lower_limit, set_up),
		cmocka_unit_test_setup(test_a_higher_limit, set_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
