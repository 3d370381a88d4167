/* SPDX-License-Identifier: Apache-2.0 */
/* However long a migration takes: a record's lists keep both ends, or lie farther apart. */
/* LIBS: migd_daemon */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "daemon/migration.h"
#include "daemon/record.h"

struct fixture {
	struct migration m;
	struct record *r;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->r = f->m.record = calloc(1, sizeof(*f->r));
	f->r->start_ns = clock_now_ns() - NS_PER_SEC;
	f->m.direction = WORKER_DIRECTION_OUTGOING;
	f->m.status = MIGRATION_STATUS_ACTIVE;
	assert_int_equal(stats_page_create(&f->m.stats, &f->m.stats_fd), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)record_free(f->r);
	stats_page_unmap(f->m.stats);
	(void)close(f->m.stats_fd);
	free(f);
	return 0;
}

/* Pass N takes N us, and sends N pages. */
static void add_pass(struct fixture *f, uint64_t n)
{
	struct worker_pass p = { .pass = n, .has_begin = true };

	p.begin.time = f->r->start_ns / NS_PER_US + n * (n - 1) / 2;
	p.begin.normal_pages = n * (n - 1) / 2;
	p.begin.bytes = p.begin.normal_pages * 4096;
	record_pass(&f->m, &p);
}

static void test_passes_keep_both_ends(void **state)
{
	struct fixture *f = *state;
	const struct migration_record *d = &f->r->data;
	const uint64_t n = 1000, half = RECORD_PASSES_MAX / 2;

	for (uint64_t i = 1; i <= n; i++)
		add_pass(f, i);
	assert_int_equal(d->n_passes, RECORD_PASSES_MAX);
	for (uint64_t i = 0; i < RECORD_PASSES_MAX; i++) {
		const struct record_pass *p = &d->passes[i];

		assert_int_equal(p->pass, i < half ? i + 1 : n - RECORD_PASSES_MAX + i + 1);
		if (i + 1 == RECORD_PASSES_MAX)
			break; /* under way */
		assert_int_equal(p->duration, p->pass);
		assert_int_equal(p->normal_pages, p->pass);
		assert_int_equal(p->bytes, p->pass * 4096);
		assert_int_equal(p->bandwidth, 4096 * 1000000ULL);
	}
}

/* A worker may say anything: numbers that go back are none, and no sum wraps around. */
static void test_passes_that_make_no_sense(void **state)
{
	struct fixture *f = *state;
	struct worker_pass p = { .pass = UINT64_MAX, .has_begin = true };

	p.begin = (struct worker_pass_begin){ UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
	record_pass(&f->m, &p);
	p = (struct worker_pass){ .pass = 1, .has_begin = true };
	record_pass(&f->m, &p);
	assert_int_equal(f->r->data.n_passes, 2);
	assert_int_equal(f->r->data.passes[0].duration, 0);
	assert_int_equal(f->r->data.passes[0].bytes, 0);
	/* A former worker's says nothing but its number. */
	p = (struct worker_pass){ .pass = 2 };
	record_pass(&f->m, &p);
	assert_int_equal(f->r->data.n_passes, 2);
}

static void test_samples_lie_farther_apart(void **state)
{
	struct fixture *f = *state;
	const struct migration_record *d = &f->r->data;
	uint64_t every = 100 * NS_PER_MS, n = 0;

	f->r->sample_every_ns = every;
	while (f->r->sample_every_ns < 8 * every) {
		stats_set(f->m.stats, transferred_bytes, 1000 * n++);
		record_sample(&f->m);
		assert_true(d->n_samples <= RECORD_SAMPLES_MAX);
	}
	/* The first is still there; then each eighth of those that came while it was thinned out. */
	assert_int_equal(d->n_samples, RECORD_SAMPLES_MAX / 2 + 1);
	assert_int_equal(d->samples[0].transferred, 0);
	for (size_t i = 1; i < d->n_samples; i++) {
		const struct record_sample *a = &d->samples[i - 1], *b = &d->samples[i];

		assert_true(b->transferred > a->transferred && b->at >= a->at);
		if (b->at > a->at)
			assert_int_equal(b->bandwidth, (uint64_t)((double)(b->transferred - a->transferred) * 1e6 / (double)(b->at - a->at)));
	}
}

static void test_stalls_are_counted_up_to_a_limit(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 0; i < 2 * RECORD_STALLS_MAX; i++)
		record_stall(&f->m, f->r->start_ns + i * NS_PER_MS, f->r->start_ns + i * NS_PER_MS + 300 * NS_PER_US);
	assert_int_equal(f->r->data.n_stalls, RECORD_STALLS_MAX);
	assert_int_equal(f->r->data.stalls[RECORD_STALLS_MAX - 1].at, (RECORD_STALLS_MAX - 1) * 1000ULL);
	assert_int_equal(f->r->data.stalls[0].duration, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_passes_keep_both_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_passes_that_make_no_sense, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_samples_lie_farther_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stalls_are_counted_up_to_a_limit, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
