/* SPDX-License-Identifier: Apache-2.0 */
/* When the guest is stopped: the downtime limit is kept, and not used up without need. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "engine/convergence.h"

#define GBPS 1000000000ULL

static struct convergence_input input(uint64_t left, uint64_t bps, uint64_t limit_us)
{
	return (struct convergence_input){ .left_bytes = left, .bandwidth_bps = bps, .limit_us = limit_us };
}

static void expected_time_is_bytes_by_bandwidth(void **state)
{
	struct convergence_input in = input(2 * GBPS, GBPS, 0);

	(void)state;
	assert_int_equal(convergence_expected_us(&in), 2000000);
	in = input(0, 0, 0);
	assert_int_equal(convergence_expected_us(&in), 0);
	in = input(1, 0, 0);
	assert_true(convergence_expected_us(&in) == UINT64_MAX);
	/* No overflow where the product does not fit 64 bits. */
	in = input(UINT64_MAX / 2, GBPS, 0);
	assert_in_range(convergence_expected_us(&in), UINT64_MAX / 2 / GBPS * 999999, UINT64_MAX);
}

static void never_switches_above_the_limit(void **state)
{
	struct convergence c = { 0 };
	struct convergence_input in = input(400 * MIB, GBPS, 300000);

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_false(convergence_switch(&c, &in));
}

static void goes_on_while_passes_shrink(void **state)
{
	struct convergence c = { 0 };
	struct convergence_input in = input(128 * MIB, GBPS, 300000);

	(void)state;
	/* All of these fit the limit of 300 ms; each halves what is left. */
	for (; convergence_expected_us(&in) > 500; in.left_bytes /= 2)
		assert_false(convergence_switch(&c, &in));
	assert_true(convergence_switch(&c, &in));
}

static void switches_when_passes_do_not_shrink(void **state)
{
	struct convergence c = { 0 };
	struct convergence_input in = input(16 * MIB, GBPS, 300000);

	(void)state;
	/* The first pass, and three more in case one leaves less. */
	for (int i = 0; i < 4; i++)
		assert_false(convergence_switch(&c, &in));
	assert_true(convergence_switch(&c, &in));
}

static void long_passes_are_not_repeated_in_hope(void **state)
{
	struct convergence c = { 0 };
	struct convergence_input in = input(200 * MIB, GBPS, 300000);

	(void)state;
	assert_false(convergence_switch(&c, &in));
	assert_true(convergence_switch(&c, &in));
}

static void the_best_of_a_few_passes_is_taken(void **state)
{
	static const uint64_t left_mib[] = { 20, 19, 18, 20, 20, 19, 18 };
	struct convergence c = { 0 };
	struct convergence_input in = input(0, GBPS, 300000);
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(left_mib); i++) {
		in.left_bytes = left_mib[i] * MIB;
		if (convergence_switch(&c, &in))
			break;
	}
	assert_in_range(i, 4, ARRAY_SIZE(left_mib) - 1);
	assert_true(left_mib[i] <= 19);
}

static void what_fits_again_after_it_did_not_is_taken(void **state)
{
	struct convergence c = { 0 };
	struct convergence_input in = input(40 * MIB, GBPS, 50000);

	(void)state;
	assert_false(convergence_switch(&c, &in));
	in.left_bytes = 128 * MIB;
	assert_false(convergence_switch(&c, &in));
	in.left_bytes = 120 * MIB;
	assert_false(convergence_switch(&c, &in));
	in.left_bytes = 30 * MIB;
	assert_false(convergence_switch(&c, &in));
	in.left_bytes = 29 * MIB;
	assert_true(convergence_switch(&c, &in));
}

static void nothing_left_switches_at_once(void **state)
{
	struct convergence c = { 0 };
	struct convergence_input in = input(0, 0, 0);

	(void)state;
	assert_true(convergence_switch(&c, &in));
}

static void a_swinging_load_is_not_followed_for_ever(void **state)
{
	struct convergence c = { 0 };
	struct convergence_input in = input(16 * MIB, GBPS, 300000);
	int passes = 0;

	(void)state;
	/* Shrinks slowly enough to stay above the floor for long: 1 GiB/s, 3 % a pass would be no shrinking. */
	in.left_bytes = 250 * MIB;
	while (!convergence_switch(&c, &in)) {
		in.left_bytes = in.left_bytes * 70 / 100;
		if (in.left_bytes < 2 * MIB)
			in.left_bytes = 250 * MIB;
		assert_in_range(++passes, 0, 40);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expected_time_is_bytes_by_bandwidth),
		cmocka_unit_test(never_switches_above_the_limit),
		cmocka_unit_test(goes_on_while_passes_shrink),
		cmocka_unit_test(switches_when_passes_do_not_shrink),
		cmocka_unit_test(long_passes_are_not_repeated_in_hope),
		cmocka_unit_test(the_best_of_a_few_passes_is_taken),
		cmocka_unit_test(what_fits_again_after_it_did_not_is_taken),
		cmocka_unit_test(nothing_left_switches_at_once),
		cmocka_unit_test(a_swinging_load_is_not_followed_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
