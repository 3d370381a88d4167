/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of throttling, of dirty limits and of dirty rates. */
/* LIBS: migd_guest */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/dirty-limit.h"
#include "guest/dirty-rate.h"
#include "guest/internal.h"

#define MS NS_PER_MS

static void a_hold_is_what_the_slice_deserves(void **state)
{
	(void)state;
	assert_int_equal(throttle_hold_ns(50, 10 * MS), 10 * MS);
	assert_int_equal(throttle_hold_ns(20, 10 * MS), 10 * MS / 4);
	assert_int_equal(throttle_hold_ns(99, 10 * MS), 990 * MS);
	/* A slice that was too long is paid for, too, up to four slices. */
	assert_int_equal(throttle_hold_ns(50, 25 * MS), 25 * MS);
	assert_int_equal(throttle_hold_ns(50, 500 * MS), 40 * MS);
}

/* 256 pages are a MiB; at 1 MiB/s a page costs 1/256 s. */
static void pages_cost_their_share_of_the_limit(void **state)
{
	static const struct {
		uint64_t paid, last, now, pages, limit, until; /* ms, MiB/s */
	} rows[] = {
		/* Exactly at the limit: even, not held. */
		{ 0, 1000, 2000, 256, 1, 2000 },
		/* Twice the limit: held for as long as it ran. */
		{ 0, 1000, 2000, 512, 1, 3000 },
		{ 0, 1000, 1100, 5120, 100, 1200 },
		/* Below the limit: no credit, the next charge counts from its own `last`. */
		{ 0, 1000, 2000, 0, 1, 1000 },
		{ 1000, 2000, 3000, 512, 1, 4000 },
		/* Still paying: what comes now is added. */
		{ 3000, 2000, 3500, 256, 1, 4000 },
		/* A guest far above its limit keeps a hundredth of the time. */
		{ 0, 1000, 1010, 256000, 1, 2000 },
		/* Harvested within its hold: it ran for a moment, a millisecond at least. */
		{ 5000, 2000, 2050, 2560, 1, 5100 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t until = dirty_limit_charge(rows[i].paid * MS, rows[i].last * MS, rows[i].now * MS,
						    rows[i].pages, rows[i].limit * MIB);

		if (until != rows[i].until * MS)
			fail_msg("row %zu: %llu ns", i, (unsigned long long)until);
	}
}

/* Charged again and again, a vCPU that dirties all it can keeps its limit. */
static void a_greedy_vcpu_keeps_its_limit(void **state)
{
	const uint64_t free_pages_per_ms = 25600, limit_mib = 5; /* 100 GiB/s */
	uint64_t paid = 0, last = 0, now = 0, pages = 0;

	(void)state;
	while (now < 1000 * NS_PER_SEC) {
		/* It runs for 2 ms, fills its ring, and is held. */
		now = max_u64(now, paid) + 2 * MS;
		paid = dirty_limit_charge(paid, last, now, 2 * free_pages_per_ms / 1000, limit_mib * MIB);
		pages += 2 * free_pages_per_ms / 1000;
		last = now;
	}
	assert_in_range(dirty_rate_mib(pages, now), limit_mib - 1, limit_mib + 1);
}

static void rates_are_mib_per_second(void **state)
{
	(void)state;
	assert_int_equal(dirty_rate_mib(256, NS_PER_SEC), 1);
	assert_int_equal(dirty_rate_mib(256, NS_PER_SEC / 4), 4);
	assert_int_equal(dirty_rate_mib(255, NS_PER_SEC), 0);
	assert_int_equal(dirty_rate_mib(1, 0), 0);
	assert_int_equal(dirty_rate_mib(UINT32_MAX, NS_PER_SEC), 16777215);
}

static void blocks_are_sampled_by_their_size(void **state)
{
	const uint64_t gib = GIB / 4096;

	(void)state;
	assert_int_equal(dirty_rate_samples_of(1, 512), 1);
	assert_int_equal(dirty_rate_samples_of(300, 512), 300);
	assert_int_equal(dirty_rate_samples_of(gib / 16, 512), 512);
	assert_int_equal(dirty_rate_samples_of(gib, 1024), 1024);
	assert_int_equal(dirty_rate_samples_of(gib * 5 / 2, 1024), 2560);
	assert_int_equal(dirty_rate_samples_of(gib << 20, 16384), 16384ULL << 20);
}

/* A hash that misses a change would miss a write. */
static void every_single_bit_changes_the_hash(void **state)
{
	uint8_t page[4096];
	uint64_t was;

	(void)state;
	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t)(i * 37 + i / 256);
	was = dirty_rate_hash(page, sizeof(page));
	for (size_t bit = 0; bit < 8 * sizeof(page); bit++) {
		page[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (dirty_rate_hash(page, sizeof(page)) == was)
			fail_msg("bit %zu", bit);
		page[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_true(dirty_rate_hash(page, sizeof(page)) == was);
	/* Two words that swap their places, in one lane and in two. */
	for (size_t other = 8; other <= 32; other += 24) {
		uint64_t a, b;

		memcpy(&a, page, 8);
		memcpy(&b, page + other, 8);
		memcpy(page, &b, 8);
		memcpy(page + other, &a, 8);
		assert_true(dirty_rate_hash(page, sizeof(page)) != was);
		memcpy(page, &a, 8);
		memcpy(page + other, &b, 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hold_is_what_the_slice_deserves),
		cmocka_unit_test(pages_cost_their_share_of_the_limit),
		cmocka_unit_test(a_greedy_vcpu_keeps_its_limit),
		cmocka_unit_test(rates_are_mib_per_second),
		cmocka_unit_test(blocks_are_sampled_by_their_size),
		cmocka_unit_test(every_single_bit_changes_the_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
