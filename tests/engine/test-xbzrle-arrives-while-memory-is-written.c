/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes with xbzrle over memory that another thread writes without a pause: in the end, what was sent as differences
 * adds up to what is there, whatever the cache's size was on the way.
 */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/fd.h"
#include "engine/ram-source.h"
#include "engine/ram-target.h"

#define N_PAGES 2048ULL
#define BLOCK_BYTES (N_PAGES * WIRE_PAGE_SIZE)
#define PASSES 12

struct source {
	struct ram ram;
	struct chan *chan;
	uint8_t *memory;
	bool runs;
	atomic_bool stop;
	_Atomic uint64_t cache_bytes;
	struct stats_page *stats;
};

static void add_block(struct ram *ram, const char *name)
{
	struct attach_ram_block row = { .len = BLOCK_BYTES, .page_size = 4096 };

	strcpy(row.name, name);
	assert_int_equal(ram_add(ram, &row, fd_memfd("test", BLOCK_BYTES), NULL), 0);
}

/* A guest races with whoever reads its memory. */
#define GUEST __attribute__((no_sanitize("thread")))

/* The guest: words here and there, whole pages, pages turned to zero. */
GUEST static void *write_always(void *opaque)
{
	struct source *s = opaque;
	unsigned int seed = 17;
	uint8_t *page;

	while (!atomic_load(&s->stop)) {
		page = s->memory + (uint64_t)rand_r(&seed) % (N_PAGES / 2) * WIRE_PAGE_SIZE;
		switch (rand_r(&seed) % 16) {
		case 0:
			memset(page, 0, WIRE_PAGE_SIZE);
			break;
		case 1:
			for (size_t i = 0; i < WIRE_PAGE_SIZE; i++)
				page[i] = (uint8_t)rand_r(&seed);
			break;
		default:
			page[(size_t)rand_r(&seed) % WIRE_PAGE_SIZE] = (uint8_t)rand_r(&seed);
		}
	}
	return NULL;
}

/* The writer may not get the CPU: something changes in any case. */
GUEST static void write_some(struct source *s)
{
	for (uint64_t p = 0; p < N_PAGES / 2; p++)
		s->memory[p * WIRE_PAGE_SIZE + 7]++;
}

static void *send_passes(void *opaque)
{
	struct source *s = opaque;
	struct ram_file *b = &s->ram.blocks[1];
	struct rate rate = { 0 };
	struct guest_link none = { .cancel_fd = -1 };
	struct out *out = out_new(s->chan, &rate, s->stats, -1);
	struct ram_source *src = ram_source_new(&s->ram, out, &none, s->stats, s->runs);
	pthread_t writer;

	assert_int_equal(ram_source_use_xbzrle(src, &s->cache_bytes), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_always, s), 0);
	ram_source_list(src, NULL);
	for (int i = 0; i < PASSES; i++) {
		if (i == PASSES - 1) {
			atomic_store(&s->stop, true);
			pthread_join(writer, NULL);
		}
		if (i == 5)
			atomic_store(&s->cache_bytes, 128 * WIRE_PAGE_SIZE);
		if (i == 8)
			atomic_store(&s->cache_bytes, 1024 * WIRE_PAGE_SIZE);
		write_some(s);
		bitmap_set_range(b->todo, 0, N_PAGES / 2);
		assert_int_equal(ram_source_pass(src, true, NULL), 0);
		assert_int_equal(out_flush(out), 0);
	}
	ram_source_free(src);
	out_free(out);
	return NULL;
}

static void arrives(bool runs)
{
	struct source s = { .runs = runs, .cache_bytes = 512 * WIRE_PAGE_SIZE };
	struct merr err = MERR_INIT;
	struct ram to = { 0 };
	struct ram_target t = { .ram = &to, .runs = runs };
	uint8_t *got = malloc(BLOCK_BYTES);
	struct chan *chan;
	pthread_t sender;
	int fds[2];

	s.stats = calloc(1, sizeof(*s.stats));
	add_block(&s.ram, "other"); /* so that page numbers of the block are not those of the cache */
	add_block(&s.ram, "ram");
	add_block(&to, "other");
	add_block(&to, "ram");
	assert_int_equal(ram_source_init(&s.ram), 0);
	assert_int_equal(ram_target_init(&to), 0);
	s.memory = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, s.ram.blocks[1].fd, 0);
	assert_true(s.memory != MAP_FAILED);
	memset(s.memory, 0x5a, BLOCK_BYTES / 2);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	s.chan = chan_new(fds[0], -1);
	chan = chan_new(fds[1], -1);
	t.in = in_new(chan, NULL, &err);
	assert_int_equal(pthread_create(&sender, NULL, send_passes, &s), 0);
	for (int i = 0; i < PASSES + 1; i++)
		if (ram_target_receive(&t, i == 0) < 0)
			fail_msg("%s", err.msg);
	pthread_join(sender, NULL);
	assert_int_equal(fd_pread_full(to.blocks[1].fd, got, BLOCK_BYTES, 0), 0);
	assert_memory_equal(got, s.memory, BLOCK_BYTES);
	/* It was xbzrle that did it. */
	assert_true(stats_get(s.stats, xbzrle_pages) > 1000);
	assert_true(stats_get(s.stats, xbzrle_misses) > 100);
	assert_true(stats_get(s.stats, xbzrle_encoding_milli) > 1000);
	assert_int_equal(stats_get(s.stats, xbzrle_cache_bytes), 1024 * WIRE_PAGE_SIZE);
	in_free(t.in);
	chan_free(chan);
	chan_free(s.chan);
	munmap(s.memory, BLOCK_BYTES);
	ram_done(&s.ram);
	ram_done(&to);
	free(s.stats);
	free(got);
}

static void between_migds(void **state)
{
	(void)state;
	arrives(true);
}

static void as_qemu_knows_it(void **state)
{
	(void)state;
	arrives(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(between_migds),
		cmocka_unit_test(as_qemu_knows_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
