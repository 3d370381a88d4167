/* SPDX-License-Identifier: Apache-2.0 */
/* When the rounds of announce-self come: the first wait is `initial`, each next one longer by `step`, none above `max`. */
/* LIBS: migd_daemon */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/announce.h"

static void test_the_defaults(void **state)
{
	static const uint64_t expected[] = { 50, 150, 250, 350, 450, 550, 550, 550 };
	const struct announce_plan plan = { .initial_ms = 50, .max_ms = 550, .step_ms = 100 };

	(void)state;
	for (uint64_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(announce_delay_ms(&plan, i + 1), expected[i]);
}

static void test_max_below_initial_wins(void **state)
{
	const struct announce_plan plan = { .initial_ms = 500, .max_ms = 20, .step_ms = 1 };

	(void)state;
	for (uint64_t round = 1; round < 10; round++)
		assert_int_equal(announce_delay_ms(&plan, round), 20);
}

static void test_the_largest_numbers(void **state)
{
	const struct announce_plan plan = { .initial_ms = 100000, .max_ms = 100000, .step_ms = 10000 };

	(void)state;
	assert_int_equal(announce_delay_ms(&plan, 1000), 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_defaults),
		cmocka_unit_test(test_max_below_initial_wins),
		cmocka_unit_test(test_the_largest_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
