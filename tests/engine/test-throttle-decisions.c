/* SPDX-License-Identifier: Apache-2.0 */
/* When auto-converge slows a guest down, and how much: tables of syncs and of decisions. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/throttle.h"

struct sync {
	uint64_t at_ms;
	uint64_t dirtied;	/* since the last sync */
	uint64_t sent;		/* since the start */
	bool triggers;
	uint64_t ret_dirtied, ret_allowed;
};

static void run_syncs(unsigned int threshold, const struct sync *syncs, size_t n)
{
	struct throttle_watch w = { 0 };
	struct throttle_load load;

	for (size_t i = 0; i < n; i++) {
		bool r = throttle_watch_sync(&w, 1 + syncs[i].at_ms * NS_PER_MS, syncs[i].dirtied, syncs[i].sent,
					     threshold, &load);

		if (r != syncs[i].triggers)
			fail_msg("sync %zu at %llu ms: %d", i, (unsigned long long)syncs[i].at_ms, r);
		if (r) {
			assert_int_equal(load.dirtied_bytes, syncs[i].ret_dirtied);
			assert_int_equal(load.allowed_bytes, syncs[i].ret_allowed);
		}
	}
}

static void the_second_high_period_triggers(void **state)
{
	static const struct sync syncs[] = {
		{ .at_ms = 0, .dirtied = 1000000, .sent = 0 },	/* everything: not what the guest did */
		{ .at_ms = 1000, .dirtied = 600, .sent = 1000 },
		{ .at_ms = 2000, .dirtied = 501, .sent = 2000, .triggers = true, .ret_dirtied = 501, .ret_allowed = 500 },
		{ .at_ms = 3000, .dirtied = 600, .sent = 3000 }, /* the count begins anew */
		{ .at_ms = 4000, .dirtied = 500, .sent = 4000 }, /* not more than allowed: not high */
		{ .at_ms = 5000, .dirtied = 700, .sent = 5000, .triggers = true, .ret_dirtied = 700, .ret_allowed = 500 },
	};

	(void)state;
	run_syncs(50, syncs, ARRAY_SIZE(syncs));
}

static void a_period_lasts_a_second(void **state)
{
	static const struct sync syncs[] = {
		{ .at_ms = 0 },
		{ .at_ms = 300, .dirtied = 400, .sent = 100 },
		{ .at_ms = 999, .dirtied = 400, .sent = 200 },
		{ .at_ms = 1300, .dirtied = 400, .sent = 300 }, /* 1200 in one period */
		{ .at_ms = 2200, .dirtied = 900, .sent = 600 },
		{ .at_ms = 2300, .dirtied = 100, .sent = 1300, .triggers = true, .ret_dirtied = 1000, .ret_allowed = 500 },
	};

	(void)state;
	run_syncs(50, syncs, ARRAY_SIZE(syncs));
}

static void the_threshold_is_a_share_of_what_was_sent(void **state)
{
	static const struct sync at_100[] = {
		{ .at_ms = 0 },
		{ .at_ms = 1000, .dirtied = 1000, .sent = 1000 },
		{ .at_ms = 2000, .dirtied = 1000, .sent = 2000 },
		{ .at_ms = 3000, .dirtied = 1000, .sent = 3000 },
	};
	static const struct sync at_1[] = {
		{ .at_ms = 0 },
		{ .at_ms = 1000, .dirtied = UINT64_MAX / 64, .sent = UINT64_MAX / 2 },
		{ .at_ms = 2000, .dirtied = 11, .sent = UINT64_MAX / 2 + 1000, .triggers = true, .ret_dirtied = 11,
		  .ret_allowed = 10 },
	};

	(void)state;
	run_syncs(100, at_100, ARRAY_SIZE(at_100));
	run_syncs(1, at_1, ARRAY_SIZE(at_1));
}

static void the_throttle_grows_by_increments(void **state)
{
	static const struct {
		struct throttle_settings set;
		struct throttle_load load;
		unsigned int now, next;
	} rows[] = {
		{ { 50, 20, 10, 99, false }, { 100, 10 }, 0, 20 },
		{ { 50, 20, 10, 99, false }, { 100, 10 }, 20, 30 },
		{ { 50, 20, 10, 99, false }, { 100, 10 }, 90, 99 },
		{ { 50, 20, 10, 99, false }, { 100, 10 }, 99, 99 },
		{ { 50, 5, 25, 95, false }, { 100, 10 }, 80, 95 },
		/* The maximum was lowered meanwhile. */
		{ { 50, 5, 25, 40, false }, { 100, 10 }, 80, 40 },
		/* Tailslow: of the 10% that still run, a quarter is too much: 2.5%, rounded up. */
		{ { 50, 20, 10, 99, true }, { 100, 75 }, 90, 93 },
		/* Nothing is allowed at all: 80% too much, which the increment bounds. */
		{ { 50, 20, 10, 99, true }, { 100, 0 }, 20, 30 },
		/* A hair too much. */
		{ { 50, 20, 10, 99, true }, { 100001, 100000 }, 20, 21 },
		/* The initial throttle knows no tail. */
		{ { 50, 20, 10, 99, true }, { 100, 99 }, 0, 20 },
		/* Whatever was asked for, a guest always runs a little. */
		{ { 50, 255, 255, 255, false }, { 100, 0 }, 0, 99 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned int next = throttle_next(&rows[i].set, rows[i].now, &rows[i].load);

		if (next != rows[i].next)
			fail_msg("row %zu: %u", i, next);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_second_high_period_triggers),
		cmocka_unit_test(a_period_lasts_a_second),
		cmocka_unit_test(the_threshold_is_a_share_of_what_was_sent),
		cmocka_unit_test(the_throttle_grows_by_increments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
