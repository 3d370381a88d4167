/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability release-ram: pages become holes once a question that was asked behind them is answered, and not before. Seeded runs
 * of pages of a real file, each sent once, with answers that lag behind, and such as belong to nothing.
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
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "engine/page-release.h"

#define N_PAGES 8448ULL
#define FILE_OFFSET (2 * WIRE_PAGE_SIZE) /* the block does not begin where its file does */

struct model {
	struct page_release release;
	struct ram_file block;
	uint8_t *map;
	unsigned int seed;
	uint32_t number;		/* of the last question */
	bool open;			/* it is not answered */
	bool sent[N_PAGES];		/* behind the last question */
	bool asked[N_PAGES];		/* before it */
	bool arrived[N_PAGES];
};

static void begin(struct model *m, unsigned int seed)
{
	memset(m, 0, sizeof(*m));
	m->seed = seed;
	m->block = (struct ram_file){ .fd = memfd_create("block", MFD_CLOEXEC), .fd_offset = FILE_OFFSET, .n_pages = N_PAGES,
				     .page_size = WIRE_PAGE_SIZE };
	assert_int_equal(ftruncate(m->block.fd, (off_t)(FILE_OFFSET + N_PAGES * WIRE_PAGE_SIZE)), 0);
	m->map = mmap(NULL, FILE_OFFSET + N_PAGES * WIRE_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->block.fd, 0);
	assert_true(m->map != MAP_FAILED);
	for (uint64_t p = 0; p < FILE_OFFSET / WIRE_PAGE_SIZE + N_PAGES; p++)
		m->map[p * WIRE_PAGE_SIZE] = 1;
}

static void end(struct model *m)
{
	(void)munmap(m->map, FILE_OFFSET + N_PAGES * WIRE_PAGE_SIZE);
	m->block.fd = close_fd(m->block.fd);
}

static void expect_holes(const struct model *m)
{
	const uint8_t *block = m->map + FILE_OFFSET;

	for (uint64_t p = 0; p < FILE_OFFSET / WIRE_PAGE_SIZE; p++)
		assert_int_equal(m->map[p * WIRE_PAGE_SIZE], 1);
	for (uint64_t p = 0; p < N_PAGES; p++)
		if (block[p * WIRE_PAGE_SIZE] != !m->arrived[p])
			fail_msg("seed %u: page %llu is %d", m->seed, (unsigned long long)p, block[p * WIRE_PAGE_SIZE]);
}

/* In pieces; nothing is asked before the last. */
static void free_all(struct model *m)
{
	struct stat before, after;

	assert_true(m->release.arrived);
	while (m->release.arrived) {
		assert_false(page_release_due(&m->release));
		assert_int_equal(fstat(m->block.fd, &before), 0);
		page_release_piece(&m->release);
		assert_int_equal(fstat(m->block.fd, &after), 0);
		assert_true(before.st_blocks - after.st_blocks <= (off_t)(PAGE_RELEASE_PIECE_PAGES * WIRE_PAGE_SIZE / 512));
	}
}

static void answer(struct model *m)
{
	page_release_answered(&m->release, m->number - 1);
	page_release_answered(&m->release, m->number + 1);
	page_release_answered(&m->release, m->number);
	page_release_answered(&m->release, m->number);
	free_all(m);
	m->open = false;
	for (uint64_t p = 0; p < N_PAGES; p++)
		m->arrived[p] |= m->asked[p];
}

static void ask(struct model *m)
{
	page_release_asked(&m->release, ++m->number);
	m->open = true;
	for (uint64_t p = 0; p < N_PAGES; p++) {
		m->asked[p] |= m->sent[p];
		m->sent[p] = false;
	}
}

static void send_run(struct model *m, uint64_t page, uint64_t n)
{
	for (uint64_t p = page; p < page + n; p++)
		m->sent[p] = true;
	page_release_sent(&m->release, &m->block, page, n);
}

static void play(unsigned int seed)
{
	static struct model m;
	uint64_t n;

	begin(&m, seed);
	for (uint64_t page = 0; page < N_PAGES; page += n) {
		n = min_u64(N_PAGES - page, 1 + (unsigned int)rand_r(&m.seed) % 64);
		/* Some stay: what is not sent is not freed. */
		if (rand_r(&m.seed) % 4)
			send_run(&m, page, n);
		if (page_release_due(&m.release)) {
			assert_false(m.open);
			ask(&m);
		}
		if (m.open && rand_r(&m.seed) % 16 == 0)
			answer(&m);
		if (rand_r(&m.seed) % 256 == 0)
			expect_holes(&m);
	}
	assert_true(m.number > 1);
	expect_holes(&m);
	end(&m);
}

static void test_seeded_runs(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= 10; seed++)
		play(seed);
}

static void test_little_is_not_asked_for(void **state)
{
	static struct model m;

	(void)state;
	begin(&m, 1);
	assert_false(page_release_due(&m.release));
	send_run(&m, 0, PAGE_RELEASE_BYTES / WIRE_PAGE_SIZE - 1);
	assert_false(page_release_due(&m.release));
	page_release_answered(&m.release, 0); /* nobody asked */
	page_release_piece(&m.release);
	expect_holes(&m);
	send_run(&m, 8000, 1);
	assert_true(page_release_due(&m.release));
	end(&m);
}

static void test_what_has_no_room_stays(void **state)
{
	static struct model m;

	(void)state;
	begin(&m, 1);
	for (uint64_t i = 0; i < PAGE_RELEASE_RUNS + 100; i++)
		send_run(&m, 2 * i, 1);
	for (uint64_t i = PAGE_RELEASE_RUNS; i < PAGE_RELEASE_RUNS + 100; i++)
		m.sent[2 * i] = false;
	ask(&m);
	answer(&m);
	expect_holes(&m);
	end(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seeded_runs),
		cmocka_unit_test(test_little_is_not_asked_for),
		cmocka_unit_test(test_what_has_no_room_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
