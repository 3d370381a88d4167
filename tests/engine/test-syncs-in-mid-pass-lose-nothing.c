/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes all the time, also into memory never touched before, and syncs in the middle of passes: what arrives
 * is what is there in the end. Each write is marked once, as devices and rings do: a mark that a sync took and the
 * pass forgot would never come again. In the stream, and over channels of multifd's, with two blocks.
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
#include "engine/multifd-sink.h"
#include "engine/multifd-target.h"
#include "engine/ram-handler.h"

#define N_PAGES 16384ULL
#define BLOCK_BYTES (N_PAGES * WIRE_PAGE_SIZE)
#define PASSES 4
#define WRITES_A_TICK 48
#define TICKS_A_SYNC 2
#define N_BLOCKS 2
#define CHANNELS_MAX 5

struct source {
	struct ram ram;
	struct chan *chan;
	struct ram_source *sender;
	struct guest_link guest;
	unsigned int seed, ticks, mid_syncs;
	unsigned int n_channels;	/* 0: pages go in the stream */
	bool list_zeros;
	struct chan *channels[CHANNELS_MAX];
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
	struct ram_file *b = &s->ram.blocks[rand_r(&s->seed) % N_BLOCKS];
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
		for (size_t i = 0; i < N_BLOCKS && page / 512 % 4 == 0; i++)
			(void)fd_pwrite_full(s->ram.blocks[i].fd, content, sizeof(content), page * sizeof(content));
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

/* NULL: not over channels. */
static struct multifd_source *use_channels(struct source *s, struct rate *rate, struct stats_page *stats)
{
	const struct multifd_options o = { .n = s->n_channels,
					   .codec = MULTI_FD_COMPRESSION_NONE,
					   .rate = rate,
					   .stats = stats,
					   .cancel_fd = -1 };
	const struct multifd_dialect d = { .find_zeros = true, .list_zeros = s->list_zeros };
	struct multifd_hello hello = { .id = 0 };
	struct multifd_source *m;

	if (!s->n_channels)
		return NULL;
	m = multifd_source_new(&o, s->channels, &hello, NULL);
	ram_source_use_sink(s->sender, multifd_sink_new(m, s->sender, &d));
	return m;
}

static void *send_all(void *opaque)
{
	struct source *s = opaque;
	struct rate rate = { 0 };
	struct stats_page *stats = calloc(1, sizeof(*stats));
	struct multifd_source *channels;
	struct out *out = out_new(s->chan, &rate, stats, -1);
	struct handlers hs = { 0 };
	uint64_t left;

	s->sender = ram_source_new(&s->ram, out, &s->guest, stats, true);
	ram_source_on_tick(s->sender, tick, s);
	channels = use_channels(s, &rate, stats);
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
		s->result = handlers_complete(&hs, out, false, NULL);
	handlers_done(&hs);
	(void)multifd_source_free(channels);
	if (s->result < 0)
		(void)shutdown(s->stream_fd, SHUT_RDWR);
	out_free(out);
	free(stats);
	return NULL;
}

/* NULL: there are no channels. */
static struct multifd_target *take_channels(struct ram *ram, struct stats_page *stats, const int *fds, unsigned int n)
{
	struct multifd_target *m = n ? multifd_target_new(ram, stats, n, MULTI_FD_COMPRESSION_NONE, -1) : NULL;
	uint8_t hello[MULTIFD_HELLO_LEN];

	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(fd_read_full(fds[i], hello, sizeof(hello)), 0);
		assert_int_equal(hello[24], i);
		assert_int_equal(multifd_target_add(m, i, chan_new(fds[i], -1)), 0);
	}
	if (m)
		assert_int_equal(multifd_target_start(m, NULL), 0);
	return m;
}

static void receive_all(struct ram *ram, int fd, const int *channel_fds, unsigned int n)
{
	struct merr err = MERR_INIT;
	struct stats_page *stats = calloc(1, sizeof(*stats));
	struct chan *chan = chan_new(fd, -1);
	struct in *in = in_new(chan, NULL, &err);
	struct multifd_target *channels = take_channels(ram, stats, channel_fds, n);
	struct ram_target t = { .ram = ram, .in = in, .runs = true, .multifd = channels };
	struct handlers hs = { 0 };
	struct section_head head;

	assert_int_equal(ram_target_register(&hs, &t, &err), 0);
	do {
		if (section_head_read(in, in_u8(in), &head) < 0 || handlers_load(&hs, in, &head) != 1)
			fail_msg("%s", err.msg);
	} while (head.type != WIRE_SECTION_END);
	handlers_done(&hs);
	if (channels)
		assert_int_equal(multifd_target_end(channels), 0);
	(void)multifd_target_free(channels);
	in_free(in);
	chan_free(chan);
	free(stats);
}

static void add_blocks(struct ram *ram)
{
	struct attach_ram_block row = { .name = "ram0", .len = BLOCK_BYTES, .page_size = 4096 };

	for (int i = 0; i < N_BLOCKS; i++) {
		row.name[3] = (char)('0' + i);
		assert_int_equal(ram_add(ram, &row, fd_memfd("test", BLOCK_BYTES), NULL), 0);
	}
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

static void make_channels(struct source *s, int *fds)
{
	int pair[2];

	for (unsigned int i = 0; i < s->n_channels; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		s->channels[i] = chan_new(pair[0], -1);
		fds[i] = pair[1];
	}
}

static void run(unsigned int seed, unsigned int n_channels, bool list_zeros)
{
	struct source s = { .seed = seed, .n_channels = n_channels, .list_zeros = list_zeros };
	struct ram to = { 0 };
	int stream[2], link[2], map_fd, channel_fds[CHANNELS_MAX];
	pthread_t sender, library;
	struct conn *c;

	add_blocks(&s.ram);
	add_blocks(&to);
	assert_int_equal(ram_source_init(&s.ram), 0);
	assert_int_equal(ram_target_init(&to), 0);
	for (int i = 0; i < N_BLOCKS; i++) {
		assert_int_equal(dirty_map_create(N_PAGES, &s.ram.blocks[i].dirty, &map_fd), 0);
		(void)close(map_fd);
	}
	fill(&s);
	for (int i = 0; i < N_BLOCKS; i++)
		bitmap_set_range(s.ram.blocks[i].dirty.bits, 0, N_PAGES);
	make_channels(&s, channel_fds);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, link), 0);
	c = conn_new(link[1]);
	assert_int_equal(pthread_create(&library, NULL, answer, c), 0);
	assert_int_equal(guest_link_init(&s.guest, link[0], -1), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
	s.stream_fd = stream[0];
	s.chan = chan_new(stream[0], -1);
	assert_int_equal(pthread_create(&sender, NULL, send_all, &s), 0);
	receive_all(&to, stream[1], channel_fds, n_channels);
	(void)pthread_join(sender, NULL);
	assert_int_equal(s.result, 0);
	assert_true(s.mid_syncs > PASSES);
	for (int i = 0; i < N_BLOCKS; i++)
		compare(&s.ram.blocks[i], &to.blocks[i]);
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
	for (unsigned int seed = 1; seed <= 4; seed++)
		run(seed, 0, false);
}

static void over_channels_too(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= CHANNELS_MAX; seed++)
		run(seed, seed, seed % 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_arrives_is_what_is_there),
		cmocka_unit_test(over_channels_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
