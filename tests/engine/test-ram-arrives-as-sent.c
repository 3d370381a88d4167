/* SPDX-License-Identifier: Apache-2.0 */
/* RAM sent by ram-source is what ram-target writes: random, zero and never touched pages, runs and single pages. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "engine/ram-handler.h"

#define N_PAGES 8192ULL
#define BLOCK_BYTES (N_PAGES * WIRE_PAGE_SIZE)

static void add_block(struct ram *ram, const char *name)
{
	struct attach_ram_block row = { .len = BLOCK_BYTES, .page_size = 4096 };

	strcpy(row.name, name);
	assert_int_equal(ram_add(ram, &row, fd_memfd("test", BLOCK_BYTES), NULL), 0);
}

/* Seeded: pages of content, of zeros, and stretches never touched. */
static void fill(const struct ram_file *b, unsigned int seed)
{
	uint8_t page[WIRE_PAGE_SIZE];
	unsigned int kind;

	for (uint64_t p = 0; p < b->n_pages; p++) {
		kind = (unsigned int)rand_r(&seed) % 8;
		if (p / 512 % 3 == 2 || kind == 0)
			continue;
		memset(page, 0, sizeof(page));
		if (kind != 1)
			for (size_t i = 0; i < sizeof(page); i += sizeof(seed)) {
				(void)rand_r(&seed);
				memcpy(page + i, &seed, sizeof(seed));
			}
		assert_int_equal(fd_pwrite_full(b->fd, page, sizeof(page), p * sizeof(page)), 0);
	}
}

struct sender {
	struct ram *ram;
	struct chan *chan;
	bool runs;
	int result;
};

static void *send_all(void *opaque)
{
	struct sender *s = opaque;
	struct rate rate = { 0 };
	struct stats_page *stats = calloc(1, sizeof(*stats));
	struct guest_link none = { .cancel_fd = -1 };
	struct out *out = out_new(s->chan, &rate, stats, -1);
	struct ram_source *src = ram_source_new(s->ram, out, &none, stats, s->runs);
	struct handlers hs = { 0 };

	s->result = ram_source_register(&hs, src, NULL);
	if (s->result == 0)
		s->result = handlers_setup(&hs, out, NULL);
	/* A stopped guest needs no library. */
	if (s->result == 0)
		s->result = handlers_complete(&hs, out, false, NULL);
	handlers_done(&hs);
	out_free(out);
	free(stats);
	return NULL;
}

static void receive_all(struct ram *ram, struct chan *chan, bool runs)
{
	struct merr err = MERR_INIT;
	struct in *in = in_new(chan, NULL, &err);
	struct ram_target t = { .ram = ram, .in = in, .runs = runs };
	struct handlers hs = { 0 };
	struct section_head head;

	assert_int_equal(ram_target_register(&hs, &t, &err), 0);
	do {
		if (section_head_read(in, in_u8(in), &head) < 0 || handlers_load(&hs, in, &head) != 1)
			fail_msg("%s", err.msg);
	} while (head.type != WIRE_SECTION_END);
	handlers_done(&hs);
	in_free(in);
}

static void compare(const struct ram_file *a, const struct ram_file *b)
{
	uint8_t x[WIRE_PAGE_SIZE], y[WIRE_PAGE_SIZE];
	struct stat sa, sb;

	for (uint64_t p = 0; p < a->n_pages; p++) {
		assert_int_equal(fd_pread_full(a->fd, x, sizeof(x), p * sizeof(x)), 0);
		assert_int_equal(fd_pread_full(b->fd, y, sizeof(y), p * sizeof(y)), 0);
		assert_memory_equal(x, y, sizeof(x));
	}
	/* Neither side got memory for what was a hole or zero. */
	assert_int_equal(fstat(a->fd, &sa), 0);
	assert_int_equal(fstat(b->fd, &sb), 0);
	assert_true(sb.st_blocks <= sa.st_blocks);
}

static void transfer(bool runs)
{
	struct ram from = { 0 }, to = { 0 };
	struct sender s = { .ram = &from, .runs = runs };
	struct stat before, after;
	pthread_t thread;
	int fds[2];

	add_block(&from, "ram");
	add_block(&from, "second");
	add_block(&to, "second");
	add_block(&to, "ram");
	fill(&from.blocks[0], 1);
	fill(&from.blocks[1], 2);
	assert_int_equal(fstat(from.blocks[0].fd, &before), 0);
	assert_int_equal(ram_source_init(&from), 0);
	assert_int_equal(ram_target_init(&to), 0);
	for (size_t i = 0; i < 2; i++)
		bitmap_set_range(from.blocks[i].todo, 0, N_PAGES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	s.chan = chan_new(fds[0], -1);
	assert_int_equal(pthread_create(&thread, NULL, send_all, &s), 0);
	{
		struct chan *chan = chan_new(fds[1], -1);

		receive_all(&to, chan, runs);
		chan_free(chan);
	}
	pthread_join(thread, NULL);
	chan_free(s.chan);
	assert_int_equal(s.result, 0);
	compare(&from.blocks[0], ram_find(&to, "ram"));
	compare(&from.blocks[1], ram_find(&to, "second"));
	assert_int_equal(fstat(from.blocks[0].fd, &after), 0);
	assert_int_equal(before.st_blocks, after.st_blocks);
	ram_done(&from);
	ram_done(&to);
}

static void runs_between_migds(void **state)
{
	(void)state;
	transfer(true);
}

static void single_pages_as_qemu_knows_them(void **state)
{
	(void)state;
	transfer(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_between_migds),
		cmocka_unit_test(single_pages_as_qemu_knows_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
