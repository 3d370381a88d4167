/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes all the time, also into memory never touched before, and syncs in the middle of passes: what arrives
 * is what is there in the end. Each write is marked once, as devices and rings do: a mark that a sync took and the
 * pass forgot would never come again.
 */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "attach/codec.h"
#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "engine/ram-handler.h"

#define N_PAGES 16384ULL
#define BLOCK_BYTES (N_PAGES * WIRE_PAGE_SIZE)
#define PASSES 4
#define WRITES_A_TICK 48
#define TICKS_A_SYNC 2

struct source {
	struct ram ram;
	struct chan *chan;
	struct ram_source *sender;
	struct guest_link guest;
	unsigned int seed, ticks, mid_syncs;
	int stream_fd, result;
};

/* The library's part: there is nothing to fetch, marks are in the map already, nor to protect. */
static void *answer(void *opaque)
{
	struct conn *c = opaque;
	struct attach_dirty_sync_reply rep = { 0 };
	struct merr err = MERR_INIT, unknown = MERR_INIT;
	struct conn_msg m;
	uint8_t bytes[16];
	int r;

	(void)merr_set(&unknown, -EOPNOTSUPP, "not known here");
	while (fd_wait(conn_fd(c), POLLIN, -1, UINT64_MAX) > 0) {
		struct wcur w = wcur_of(bytes, sizeof(bytes));

		r = conn_recv(c, &m, &err);
		if (r == -ENOTCONN)
			break; /* the end */
		if (r < 0)
			fail_msg("%s", merr_msg(&err));
		if (r == 0)
			continue;
		if (m.type == ATTACH_DIRTY_SYNC)
			(void)attach_dirty_sync_reply_encode(&w, &rep);
		if (m.type == ATTACH_DIRTY_SYNC || m.type == ATTACH_DIRTY_CLEAR)
			(void)conn_reply(c, &m, bytes, w.len, NULL, 0);
		else
			(void)conn_reply_error(c, &m, &unknown);
		conn_msg_done(&m);
	}
	return NULL;
}

static void write_page(struct source *s)
{
	struct ram_file *b = &s->ram.blocks[0];
	uint64_t page = (uint64_t)rand_r(&s->seed) % N_PAGES, content[WIRE_PAGE_SIZE / 8];

	/* One unit in four is never written, one in four only late. */
	if (page / 512 % 4 == 3 || (page / 512 % 4 == 2 && s->ticks < 20))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(content); i++)
		content[i] = (uint64_t)rand_r(&s->seed) * (s->ticks % 5 != 0); /* at times zeros */
	(void)fd_pwrite_full(b->fd, content, sizeof(content), page * sizeof(content));
	bitmap_atomic_or_range(b->dirty.bits, page, 1);
}

/* Half of what is used is dense: long runs go another way than short ones. */
static void fill(struct source *s)
{
	uint64_t content[WIRE_PAGE_SIZE / 8];

	memset(content, 0x5a, sizeof(content));
	for (uint64_t page = 0; page < N_PAGES; page++)
		if (page / 512 % 4 == 0)
			(void)fd_pwrite_full(s->ram.blocks[0].fd, content, sizeof(content), page * sizeof(content));
	for (int i = 0; i < 4000; i++)
		write_page(s);
}

static int tick(void *opaque)
{
	struct source *s = opaque;
	uint64_t left;

	for (unsigned int i = 0; i < WRITES_A_TICK; i++)
		write_page(s);
	if (++s->ticks % TICKS_A_SYNC)
		return 0;
	s->mid_syncs++;
	return ram_source_sync(s->sender, &left, NULL);
}

static void *send_all(void *opaque)
{
	struct source *s = opaque;
	struct rate rate = { 0 };
	struct stats_page *stats = calloc(1, sizeof(*stats));
	struct out *out = out_new(s->chan, &rate, stats, -1);
	struct handlers hs = { 0 };
	uint64_t left;

	s->sender = ram_source_new(&s->ram, out, &s->guest, stats, true);
	ram_source_on_tick(s->sender, tick, s);
	s->result = ram_source_register(&hs, s->sender, NULL);
	if (s->result == 0)
		s->result = handlers_setup(&hs, out, NULL);
	for (int i = 0; s->result == 0 && i < PASSES; i++) {
		s->result = ram_source_sync(s->sender, &left, NULL);
		if (s->result == 0)
			s->result = handlers_iterate(&hs, out, NULL, NULL, NULL);
	}
	ram_source_on_tick(s->sender, NULL, NULL); /* it stands still */
	if (s->result == 0)
		s->result = ram_source_sync(s->sender, &left, NULL);
	if (s->result == 0)
		s->result = handlers_complete(&hs, out, NULL);
	handlers_done(&hs);
	if (s->result < 0)
		(void)shutdown(s->stream_fd, SHUT_RDWR);
	out_free(out);
	free(stats);
	return NULL;
}

static void receive_all(struct ram *ram, int fd)
{
	struct merr err = MERR_INIT;
	struct chan *chan = chan_new(fd, -1);
	struct in *in = in_new(chan, NULL, &err);
	struct ram_target t = { .ram = ram, .in = in, .runs = true };
	struct handlers hs = { 0 };
	struct section_head head;

	assert_int_equal(ram_target_register(&hs, &t, &err), 0);
	do {
		if (section_head_read(in, in_u8(in), &head) < 0 || handlers_load(&hs, in, &head) != 1)
			fail_msg("%s", err.msg);
	} while (head.type != WIRE_SECTION_END);
	handlers_done(&hs);
	in_free(in);
	chan_free(chan);
}

static void add_block(struct ram *ram)
{
	struct attach_ram_block row = { .name = "ram", .len = BLOCK_BYTES, .page_size = 4096 };

	assert_int_equal(ram_add(ram, &row, fd_memfd("test", BLOCK_BYTES), NULL), 0);
}

static void compare(const struct ram_file *a, const struct ram_file *b)
{
	uint8_t x[WIRE_PAGE_SIZE], y[WIRE_PAGE_SIZE];

	for (uint64_t p = 0; p < N_PAGES; p++) {
		assert_int_equal(fd_pread_full(a->fd, x, sizeof(x), p * sizeof(x)), 0);
		assert_int_equal(fd_pread_full(b->fd, y, sizeof(y), p * sizeof(y)), 0);
		if (memcmp(x, y, sizeof(x)))
			fail_msg("page %llu arrived as it is not", (unsigned long long)p);
	}
}

static void run(unsigned int seed)
{
	struct source s = { .seed = seed };
	struct ram to = { 0 };
	int stream[2], link[2], map_fd;
	pthread_t sender, library;
	struct conn *c;

	add_block(&s.ram);
	add_block(&to);
	assert_int_equal(ram_source_init(&s.ram), 0);
	assert_int_equal(ram_target_init(&to), 0);
	assert_int_equal(dirty_map_create(N_PAGES, &s.ram.blocks[0].dirty, &map_fd), 0);
	(void)close(map_fd);
	fill(&s);
	bitmap_set_range(s.ram.blocks[0].dirty.bits, 0, N_PAGES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, link), 0);
	c = conn_new(link[1]);
	assert_int_equal(pthread_create(&library, NULL, answer, c), 0);
	assert_int_equal(guest_link_init(&s.guest, link[0], -1), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
	s.stream_fd = stream[0];
	s.chan = chan_new(stream[0], -1);
	assert_int_equal(pthread_create(&sender, NULL, send_all, &s), 0);
	receive_all(&to, stream[1]);
	(void)pthread_join(sender, NULL);
	assert_int_equal(s.result, 0);
	assert_true(s.mid_syncs > PASSES);
	compare(&s.ram.blocks[0], &to.blocks[0]);
	guest_link_done(&s.guest);
	(void)pthread_join(library, NULL);
	(void)conn_free(c);
	chan_free(s.chan);
	ram_done(&s.ram);
	ram_done(&to);
}

static void what_arrives_is_what_is_there(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= 8; seed++)
		run(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_arrives_is_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
