/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LIBS: migd_engine migd_transport migd_base
 *
 * What the target has and what the source then still sends are complements, whatever the block's length; and a map that does
 * not fit the block is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "engine/recv-bitmap.h"
#include "engine/return-path.h"
#include "engine/wire.h"

struct pair {
	struct chan *target;
	struct chan *source;
	struct in *in;
	struct merr err;
};

static void pair_open(struct pair *p)
{
	int fds[2];

	memset(p, 0, sizeof(*p));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p->target = chan_new(fds[0], -1);
	p->source = chan_new(fds[1], -1);
	assert_non_null(p->target);
	assert_non_null(p->source);
	p->in = in_new(p->source, NULL, &p->err);
	assert_non_null(p->in);
}

static void pair_close(struct pair *p)
{
	(void)in_free(p->in);
	(void)chan_free(p->source);
	(void)chan_free(p->target);
}

static struct ram_file block_new(uint64_t n_pages, uint64_t *received, uint64_t *todo)
{
	struct ram_file b = { .name = "ram0", .n_pages = n_pages, .todo = todo };

	b.received.bits = received;
	return b;
}

/* Some of everything: the first, the last, words that are full and words that are empty. */
static void fill(uint64_t *bits, uint64_t n_pages)
{
	uint64_t seed = n_pages * 2654435761U + 1;

	for (uint64_t i = 0; i < n_pages; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		if (i == 0 || i == n_pages - 1 || i / 64 % 5 == 1 || (i / 64 % 5 != 2 && seed >> 63))
			bitmap_set(bits, i);
	}
}

static void check_length(uint64_t n_pages)
{
	uint64_t words = bitmap_words(n_pages);
	uint64_t *received = calloc(words + 1, sizeof(*received)), *todo = calloc(words + 1, sizeof(*todo));
	struct ram_file b = block_new(n_pages, received, todo);
	struct rp_msg m;
	struct pair p;

	assert_non_null(received);
	assert_non_null(todo);
	pair_open(&p);
	fill(received, n_pages);
	assert_int_equal(recv_bitmap_send(p.target, &b), 0);
	assert_int_equal(rp_read(p.in, &m), 0);
	assert_int_equal(m.type, WIRE_RP_RECV_BITMAP);
	assert_int_equal(m.len, 5);
	assert_memory_equal(m.body, "\4ram0", 5);
	assert_int_equal(recv_bitmap_read(p.in, &b), 0);
	for (uint64_t i = 0; i < n_pages; i++)
		assert_int_equal(bitmap_test(todo, i), !bitmap_test(received, i));
	assert_int_equal(bitmap_count_range(todo, 0, words * 64), n_pages - bitmap_count_range(received, 0, n_pages));
	assert_int_equal(todo[words], 0);
	pair_close(&p);
	free(received);
	free(todo);
}

static void test_complements(void **state)
{
	static const uint64_t lengths[] = { 1, 63, 64, 65, 511, 512, 4096, 300001 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		check_length(lengths[i]);
}

/* A bitmap of SIZE bytes (as it says), whose words are WORD, that ends with END. */
static int read_forged(uint64_t n_pages, uint64_t size, uint64_t word, uint64_t end)
{
	uint64_t received[4] = { 0 }, todo[4] = { 0 };
	struct ram_file b = block_new(n_pages, received, todo);
	uint8_t bytes[8];
	struct pair p;
	int r;

	pair_open(&p);
	store_be64(bytes, size);
	assert_int_equal(write(chan_fd(p.target), bytes, 8), 8);
	for (uint64_t at = 0; at < size && at < 32; at += 8) {
		for (int i = 0; i < 8; i++)
			bytes[i] = (uint8_t)(word >> (8 * i));
		assert_int_equal(write(chan_fd(p.target), bytes, 8), 8);
	}
	store_be64(bytes, end);
	assert_int_equal(write(chan_fd(p.target), bytes, 8), 8);
	r = recv_bitmap_read(p.in, &b);
	if (r < 0) {
		assert_non_null(strstr(merr_msg(&p.err), "ram0"));
		assert_int_equal(todo[bitmap_words(n_pages)], 0);
	}
	pair_close(&p);
	return r;
}

static void test_others_are_refused(void **state)
{
	(void)state;
	assert_int_equal(read_forged(65, 16, 0, WIRE_BITMAP_END), 0);
	assert_int_equal(read_forged(65, 16, 1, WIRE_BITMAP_END), 0);
	assert_int_equal(read_forged(65, 16, 2, WIRE_BITMAP_END), -EBADMSG);
	assert_int_equal(read_forged(65, 16, 0, 0), -EBADMSG);
	assert_int_equal(read_forged(65, 8, 0, WIRE_BITMAP_END), -EBADMSG);
	assert_int_equal(read_forged(65, 24, 0, WIRE_BITMAP_END), -EBADMSG);
	assert_int_equal(read_forged(65, UINT64_MAX, 0, WIRE_BITMAP_END), -EBADMSG);
	assert_int_equal(read_forged(65, 0, 0, WIRE_BITMAP_END), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complements),
		cmocka_unit_test(test_others_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
