/* SPDX-License-Identifier: Apache-2.0 */
/* Percentiles and the distribution of fault latencies, from a worker's classes. */
/* LIBS: migd_daemon */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "daemon/fault-latency.h"

/* Another way to the number of a class than the one that is tested: its bounds are looked for. */
static unsigned int class_of(uint64_t ns)
{
	for (unsigned int e = 0; e < 40; e++)
		for (unsigned int p = 0; p < 4; p++)
			if ((double)ns < (double)(1ULL << e) * (1 + (p + 1) / 4.0))
				return 4 * e + p;
	return STATS_FAULT_BUCKETS - 1;
}

static void add(struct stats_page *s, uint64_t ns, uint64_t n)
{
	atomic_fetch_add(&s->fault_buckets[class_of(ns)], n);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct stats_page));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void test_no_fault(void **state)
{
	uint64_t dist[FAULT_LATENCY_CLASSES];

	assert_int_equal(fault_latency_percentile(*state, 50), 0);
	fault_latency_distribution(*state, dist);
	for (unsigned int i = 0; i < FAULT_LATENCY_CLASSES; i++)
		assert_int_equal(dist[i], 0);
}

static void test_one_fault_is_off_by_an_eighth_at_most(void **state)
{
	/* Up to where the last class ends. */
	for (uint64_t ns = 4; ns < 1ULL << 40; ns += ns / 7 + 1) {
		memset(*state, 0, sizeof(struct stats_page));
		add(*state, ns, 1);
		for (unsigned int percent = 1; percent <= 100; percent += 33) {
			double found = (double)fault_latency_percentile(*state, percent);

			assert_true(found >= 0.874 * (double)ns - 1 && found <= 1.126 * (double)ns + 1);
		}
	}
}

static void assert_near(uint64_t ns, uint64_t expected)
{
	assert_in_range(ns, expected - expected / 8, expected + expected / 8);
}

static void test_percentiles(void **state)
{
	add(*state, 50000, 60);
	add(*state, 300000, 35);
	add(*state, 9000000, 4);
	add(*state, 2000000000, 1);
	assert_near(fault_latency_percentile(*state, 50), 50000);
	assert_near(fault_latency_percentile(*state, 60), 50000);
	assert_near(fault_latency_percentile(*state, 61), 300000);
	assert_near(fault_latency_percentile(*state, 90), 300000);
	assert_near(fault_latency_percentile(*state, 95), 300000);
	assert_near(fault_latency_percentile(*state, 99), 9000000);
	assert_near(fault_latency_percentile(*state, 100), 2000000000);
}

static void test_distribution(void **state)
{
	uint64_t dist[FAULT_LATENCY_CLASSES], sum = 0;

	add(*state, 300, 1);		     /* under a microsecond */
	add(*state, 1500, 2);		     /* 1 to 2 */
	add(*state, 2100, 4);		     /* 2 to 4 */
	add(*state, 900000, 8);		     /* 512 to 1024 */
	add(*state, 8ULL << 33, 16);	     /* beyond 2^24 */
	add(*state, UINT64_MAX, 32);
	fault_latency_distribution(*state, dist);
	assert_int_equal(dist[0], 3);
	assert_int_equal(dist[1], 4);
	assert_int_equal(dist[9], 8);
	assert_int_equal(dist[23], 48);
	for (unsigned int i = 0; i < FAULT_LATENCY_CLASSES; i++)
		sum += dist[i];
	assert_int_equal(sum, 63);
}

static void test_bounds_of_the_distribution(void **state)
{
	uint64_t dist[FAULT_LATENCY_CLASSES];

	for (unsigned int i = 1; i < FAULT_LATENCY_CLASSES - 1; i++) {
		memset(*state, 0, sizeof(struct stats_page));
		add(*state, (1000ULL << i) * 1025 / 1000, 1);
		add(*state, (2000ULL << i) - 1, 1);
		fault_latency_distribution(*state, dist);
		assert_int_equal(dist[i], 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_fault_is_off_by_an_eighth_at_most, setup, teardown),
		cmocka_unit_test_setup_teardown(test_percentiles, setup, teardown),
		cmocka_unit_test_setup_teardown(test_distribution, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds_of_the_distribution, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
