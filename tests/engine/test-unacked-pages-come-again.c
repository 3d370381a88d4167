/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages are sent again after a lost connection: those sent after the last question that was answered, and no others. Seeded
 * passes over two blocks, with answers that lag behind, drains, and losses in between, against a list of all that was sent.
 */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/fd.h"
#include "engine/unacked.h"

#define N_BLOCKS 2
#define N_PAGES 32768ULL
#define STEP_MAX 512U
#define ROUNDS 400

struct model {
	struct ram ram;
	struct unacked u;
	uint32_t numbers, answered;
	unsigned int seed;
	uint64_t now;				/* counts what is sent */
	uint64_t sent[N_BLOCKS][N_PAGES];	/* when last; 0: never, or acknowledged */
	struct question {
		uint32_t number;
		uint64_t at;
		bool drain;
	} asked[4096];
	size_t n_asked, n_answered, n_marks;
};

static unsigned int below(struct model *m, unsigned int n)
{
	return (unsigned int)rand_r(&m->seed) % n;
}

static void note_question(struct model *m, uint32_t number, bool drain)
{
	assert_true(m->n_asked < sizeof(m->asked) / sizeof(m->asked[0]));
	m->asked[m->n_asked++] = (struct question){ number, m->now, drain };
}

/* The oldest question that is open. */
static void answer(struct model *m)
{
	struct question *q = &m->asked[m->n_answered++];

	unacked_answered(&m->u, q->number, q->drain);
	for (size_t b = 0; b < N_BLOCKS; b++)
		for (uint64_t p = 0; p < N_PAGES; p++)
			if (m->sent[b][p] && m->sent[b][p] <= q->at)
				m->sent[b][p] = 0;
}

static void send_pages(struct model *m, size_t block, uint64_t page, uint64_t n)
{
	struct ram_file *b = &m->ram.blocks[block];
	uint32_t number;

	if (unacked_mark(&m->u, b, page, &number)) {
		note_question(m, number, false);
		m->n_marks++;
	}
	bitmap_clear_range(b->todo, page, n);
	unacked_sent(&m->u, b, page, n);
	m->now++;
	for (uint64_t p = page; p < page + n; p++)
		m->sent[block][p] = m->now;
}

/* Ascending, with gaps; answers come when they come. False: the connection broke in mid-pass. */
static bool pass(struct model *m)
{
	uint64_t n;

	unacked_pass(&m->u);
	for (size_t b = 0; b < N_BLOCKS; b++)
		for (uint64_t p = below(m, STEP_MAX); p < N_PAGES; p += n + below(m, STEP_MAX)) {
			n = 1 + below(m, STEP_MAX);
			n = n < N_PAGES - p ? n : N_PAGES - p;
			send_pages(m, b, p, n);
			if (m->n_answered < m->n_asked && below(m, 20) == 0)
				answer(m);
			if (below(m, 300) == 0)
				return false;
		}
	return true;
}

static void drain(struct model *m)
{
	note_question(m, ++m->numbers, true);
	while (m->n_answered < m->n_asked)
		answer(m);
}

static void lose(struct model *m)
{
	uint64_t expected = 0, got;

	for (size_t b = 0; b < N_BLOCKS; b++)
		bitmap_clear_range(m->ram.blocks[b].todo, 0, N_PAGES);
	for (size_t b = 0; b < N_BLOCKS; b++)
		for (uint64_t p = 0; p < N_PAGES; p++)
			expected += m->sent[b][p] != 0;
	got = unacked_take_back(&m->u);
	for (size_t b = 0; b < N_BLOCKS; b++)
		for (uint64_t p = 0; p < N_PAGES; p++)
			if (bitmap_test(m->ram.blocks[b].todo, p) != (m->sent[b][p] != 0))
				fail_msg("block %zu page %llu: %s", b, (unsigned long long)p,
					 m->sent[b][p] ? "may be lost, and is not sent again" : "arrived, and is sent again");
	assert_int_equal(got, expected);
	memset(m->sent, 0, sizeof(m->sent));
	m->n_asked = m->n_answered = 0;
}

static void lost_pages_come_again(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	unsigned int losses = 0;

	(void)state;
	assert_non_null(m);
	m->seed = 2604;
	/* Close to where numbers wrap around. */
	m->numbers = UINT32_MAX - 100;
	for (size_t b = 0; b < N_BLOCKS; b++) {
		struct attach_ram_block row = { .len = N_PAGES * WIRE_PAGE_SIZE, .page_size = WIRE_PAGE_SIZE };

		(void)snprintf(row.name, sizeof(row.name), "block%zu", b);
		assert_int_equal(ram_add(&m->ram, &row, fd_memfd("test", row.len), NULL), 0);
	}
	assert_int_equal(ram_source_init(&m->ram), 0);
	assert_int_equal(unacked_start(&m->u, &m->ram, &m->numbers), 0);
	for (int i = 0; i < ROUNDS; i++) {
		bool drained = pass(m) && below(m, 4);

		if (drained)
			drain(m);
		if (drained && below(m, 4))
			continue;
		lose(m);
		losses++;
	}
	assert_true(losses > ROUNDS / 10);
	assert_true(m->n_marks > ROUNDS);
	ram_done(&m->ram);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(lost_pages_come_again) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
