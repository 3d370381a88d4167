/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that threads write all the time, saved as it was at one instant: each page comes once, as it was then, be its
 * writer first or the one that saves; holes come as zeros or not at all. With a real userfaultfd, on this process's memory.
 */
/* LIBS: migd_engine */
/* LABELS: kvm */
/* SOURCES: userfaultfd.c */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "engine/snapshot-memory.h"
#include "engine/ram-units.h"
#include "userfaultfd.h"

#define N_BLOCKS  2U
#define N_WRITERS 3U
/* No multiple of a word's, nor of a unit's; more than the queue holds. */
#define N_PAGES 12345ULL
#define WORDS   (WIRE_PAGE_SIZE / 8)

struct world {
	struct ram ram;
	struct stats_page stats;
	uint64_t *map[N_BLOCKS];
	uint8_t came[N_BLOCKS][N_PAGES];
	unsigned int fail_after, n_copies;
	bool slow;
	atomic_bool stop;
	_Atomic uint64_t written[N_WRITERS];
	pthread_t writers[N_WRITERS];
};

/* Two stretches of each block were never touched: one has units of its own, one has not. */
#define LATE 4150U /* ... but for this page, just before the instant */
static bool is_hole(uint64_t page)
{
	return (page >= 1000 && page < 4200 && page != LATE) || (page >= 8000 && page < 8010);
}

static uint64_t first_word(unsigned int block, uint64_t page)
{
	return 0x1000000 * (block + 1) + page;
}

static int uffd_on(struct world *w)
{
	int fd = userfaultfd_or_skip(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);

	for (unsigned int i = 0; i < N_BLOCKS; i++)
		userfaultfd_register(fd, w->ram.blocks[i].host_base, w->ram.blocks[i].len, UFFDIO_REGISTER_MODE_WP);
	return fd;
}

static void touch(struct world *w, uint64_t page)
{
	for (unsigned int i = 0; i < N_BLOCKS; i++)
		w->map[i][page * WORDS] = w->map[i][page * WORDS + WORDS - 1] = first_word(i, page);
}

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct attach_ram_block row = { .len = N_PAGES * WIRE_PAGE_SIZE, .page_size = WIRE_PAGE_SIZE };

	assert_non_null(w);
	for (unsigned int i = 0; i < N_BLOCKS; i++) {
		int fd = fd_memfd("test", row.len);

		w->map[i] = mmap(NULL, row.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_true(w->map[i] != MAP_FAILED);
		(void)snprintf(row.name, sizeof(row.name), "b%u", i);
		row.host_base = (uint64_t)(uintptr_t)w->map[i];
		assert_int_equal(ram_add(&w->ram, &row, fd, NULL), 0);
	}
	for (uint64_t page = 0; page < N_PAGES; page++)
		if (!is_hole(page) && page != LATE)
			touch(w, page);
	assert_int_equal(ram_source_init(&w->ram), 0);
	return w;
}

static void world_free(struct world *w)
{
	for (unsigned int i = 0; i < N_BLOCKS; i++)
		(void)munmap(w->map[i], N_PAGES * WIRE_PAGE_SIZE);
	ram_done(&w->ram);
	free(w);
}

struct writer {
	struct world *w;
	unsigned int index;
};

/* Some here, some there, some one after the other; also where there was a hole. */
static void *write_on(void *opaque)
{
	struct writer self = *(struct writer *)opaque;
	unsigned int seed = self.index + 1;
	uint64_t page = 0, n = 1, *words;

	free(opaque);
	for (; !atomic_load(&self.w->stop); n++) {
		page = n % 8 ? (page + 1) % N_PAGES : (uint64_t)rand_r(&seed) % N_PAGES;
		words = &self.w->map[n / 64 % N_BLOCKS][page * WORDS];
		__atomic_store_n(&words[0], ~n, __ATOMIC_RELAXED);
		__atomic_store_n(&words[WORDS - 1], ~n, __ATOMIC_RELAXED);
		atomic_store(&self.w->written[self.index], n);
	}
	return NULL;
}

static void start_writers(struct world *w)
{
	for (unsigned int i = 0; i < N_WRITERS; i++) {
		struct writer *self = malloc(sizeof(*self));

		assert_non_null(self);
		*self = (struct writer){ w, i };
		assert_int_equal(pthread_create(&w->writers[i], NULL, write_on, self), 0);
	}
}

static void end_writers(struct world *w)
{
	atomic_store(&w->stop, true);
	for (unsigned int i = 0; i < N_WRITERS; i++)
		assert_int_equal(pthread_join(w->writers[i], NULL), 0);
}

/* All of them get on: nobody waits for a page. */
static void writers_go_on(struct world *w)
{
	uint64_t before[N_WRITERS], until_ns = clock_now_ns() + 20 * NS_PER_SEC;

	for (unsigned int i = 0; i < N_WRITERS; i++)
		before[i] = atomic_load(&w->written[i]);
	for (unsigned int i = 0; i < N_WRITERS; i++)
		while (atomic_load(&w->written[i]) < before[i] + 100) {
			assert_true(clock_now_ns() < until_ns);
			(void)usleep(1000);
		}
}

static int copies(void *opaque, struct ram_file *b, uint64_t page, uint64_t n, const uint8_t *data, struct merr *err)
{
	struct world *w = opaque;
	unsigned int block = (unsigned int)(b - w->ram.blocks);

	if (w->fail_after && ++w->n_copies > w->fail_after)
		return merr_set(err, -ENOSPC, "enough");
	if (w->slow && page % 1024 == 0)
		(void)usleep(3000);
	assert_true(n > 0 && n <= 64 && page + n <= N_PAGES);
	for (uint64_t i = 0; i < n; i++) {
		const uint64_t *word = (const uint64_t *)(const void *)(data + i * WIRE_PAGE_SIZE);

		assert_false(is_hole(page + i));
		assert_int_equal(w->came[block][page + i]++, 0);
		assert_int_equal(word[0], first_word(block, page + i));
		assert_int_equal(word[WORDS - 1], first_word(block, page + i));
	}
	return 0;
}

static int zeros(void *opaque, struct ram_file *b, uint64_t page, uint64_t n, struct merr *err)
{
	struct world *w = opaque;

	(void)err;
	for (; n > 0; page++, n--) {
		assert_true(is_hole(page));
		assert_int_equal(w->came[b - w->ram.blocks][page]++, 0);
	}
	return 0;
}

static int no_tick(void *opaque)
{
	(void)opaque;
	return 0;
}

static struct snapshot_memory *protect(struct world *w)
{
	struct snapshot_memory *m = NULL;
	struct merr err = MERR_INIT;

	assert_int_equal(snapshot_memory_new(&w->ram, uffd_on(w), &w->stats, &m, &err), 0);
	snapshot_memory_look(m);
	/* Touched after the look. */
	touch(w, LATE);
	assert_int_equal(snapshot_memory_protect(m, no_tick, NULL, &err), 0);
	return m;
}

static void check_all_came(const struct world *w)
{
	uint64_t untold = 0;

	for (unsigned int i = 0; i < N_BLOCKS; i++)
		for (uint64_t page = 0; page < N_PAGES; page++) {
			if (!is_hole(page))
				assert_int_equal(w->came[i][page], 1);
			/* A hole that nobody tells is one of a whole unit. */
			else if (!w->came[i][page])
				untold++, assert_true(page / RAM_UNIT_PAGES >= 2 && page / RAM_UNIT_PAGES < 8);
		}
	assert_int_equal(untold, stats_get(&w->stats, hole_pages));
	assert_int_equal(untold, 2 * 6 * RAM_UNIT_PAGES);
	assert_int_equal(stats_get(&w->stats, remaining_bytes), 0);
}

static void saved(struct world *w)
{
	const struct snapshot_sink sink = { .copies = copies, .zeros = zeros, .opaque = w };
	struct snapshot_memory *m = protect(w);
	struct merr err = MERR_INIT;

	start_writers(w);
	assert_int_equal(snapshot_memory_save(m, &sink, &err), 0);
	writers_go_on(w);
	m = snapshot_memory_free(m);
	writers_go_on(w);
	end_writers(w);
	check_all_came(w);
	print_message("%llu faults\n", (unsigned long long)stats_get(&w->stats, snapshot_faults));
	assert_true(stats_get(&w->stats, snapshot_faults) > 0);
	world_free(w);
}

static void each_page_once(void **state)
{
	(void)state;
	saved(world_new());
}

static void with_a_full_queue(void **state)
{
	struct world *w = world_new();

	(void)state;
	w->slow = true;
	saved(w);
}

/* It fails half-way: who waits for a page is let go, with or without room in the queue. */
static void given_up(void **state)
{
	struct world *w = world_new();
	const struct snapshot_sink sink = { .copies = copies, .zeros = zeros, .opaque = w };
	struct snapshot_memory *m = protect(w);
	struct merr err = MERR_INIT;

	(void)state;
	w->fail_after = 5;
	start_writers(w);
	assert_int_equal(snapshot_memory_save(m, &sink, &err), -ENOSPC);
	m = snapshot_memory_free(m);
	writers_go_on(w);
	end_writers(w);
	world_free(w);
}

static void odd_pages_are_refused(void **state)
{
	struct world *w = world_new();
	struct snapshot_memory *m = NULL;
	struct merr err = MERR_INIT;

	(void)state;
	w->ram.blocks[1].page_size = 2 * WIRE_PAGE_SIZE;
	assert_int_equal(snapshot_memory_new(&w->ram, uffd_on(w), &w->stats, &m, &err), -EOPNOTSUPP);
	assert_non_null(strstr(merr_msg(&err), "'b1' has pages of 8192 bytes"));
	world_free(w);
}

/* Of an image that is lost nobody looks at what still comes. */
static int any_copies(void *opaque, struct ram_file *b, uint64_t page, uint64_t n, const uint8_t *data, struct merr *err)
{
	(void)opaque;
	(void)b;
	(void)page;
	(void)n;
	(void)data;
	(void)err;
	return 0;
}

/* Writes where the table of RAM has no block: the image is lost, and nobody is left waiting. */
static void writes_elsewhere_are_told(void **state)
{
	struct world *w = world_new();
	const struct snapshot_sink sink = { .copies = any_copies, .zeros = zeros, .opaque = w };
	struct snapshot_memory *m = protect(w);
	struct merr err = MERR_INIT;

	(void)state;
	w->ram.blocks[1].host_base = WIRE_PAGE_SIZE;
	start_writers(w);
	assert_true(snapshot_memory_save(m, &sink, &err) < 0);
	assert_true(merr_is_set(&err));
	m = snapshot_memory_free(m);
	writers_go_on(w);
	end_writers(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_page_once),
		cmocka_unit_test(with_a_full_queue),
		cmocka_unit_test(given_up),
		cmocka_unit_test(odd_pages_are_refused),
		cmocka_unit_test(writes_elsewhere_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
