/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a target says to a source: in the opening (4), or in post-copy: requests for pages, and bitmaps of what it has. The input is
 * a return path from its first message on, over a real socket; its first byte says how often requests are taken from the queue.
 *
 * Whatever comes, what is queued are whole pages within their block.
 */
/* LIBS: migd_engine */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "engine/opening.h"
#include "engine/page-requests.h"
#include "engine/recv-bitmap.h"
#include "grammar.h"

/* No whole number of bitmap words. */
#define SMALL_PAGES 1100U
#define HUGE_PAGES 3U
#define HUGE_BYTES (2 * MIB)
/* What a socketpair takes without a reader. */
#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ram ram;

static void block_add(const char *name, uint64_t len, uint64_t page_size)
{
	struct attach_ram_block row = { .len = len, .page_size = page_size };

	(void)strcpy(row.name, name);
	if (ram_add(&ram, &row, fd_memfd("fuzz", len), NULL) < 0)
		abort();
}

static void ram_once(void)
{
	if (ram.n_blocks)
		return;
	block_add("ram", SMALL_PAGES * (uint64_t)WIRE_PAGE_SIZE, WIRE_PAGE_SIZE);
	block_add("huge", HUGE_PAGES * HUGE_BYTES, HUGE_BYTES);
	if (ram_source_init(&ram) < 0)
		abort();
}

static void all_missing(void)
{
	for (size_t i = 0; i < ram.n_blocks; i++)
		bitmap_set_range(ram.blocks[i].todo, 0, ram.blocks[i].n_pages);
}

static void check_request(const struct page_request *q)
{
	uint64_t own = q->block->page_size / WIRE_PAGE_SIZE;

	if (q->block < ram.blocks || q->block >= ram.blocks + ram.n_blocks || q->n == 0 || q->n > q->block->n_pages ||
	    q->page > q->block->n_pages - q->n || q->page % own || q->n % own)
		abort();
}

/* Answered: on the list no more. */
static void answer(struct page_requests *q)
{
	struct page_request next;

	if (!page_requests_next(q, &next))
		return;
	check_request(&next);
	bitmap_clear_range(next.block->todo, next.page, next.n);
}

static void take_bitmap(struct in *in, const struct rp_msg *m)
{
	char name[256] = { 0 };
	struct ram_file *b;

	if (m->len == 0 || m->len != 1 + m->body[0])
		return;
	memcpy(name, m->body + 1, m->body[0]);
	b = ram_find(&ram, name);
	if (b && recv_bitmap_read(in, b) < 0)
		all_missing();
	/* What is no page is not missing. */
	if (b && b->n_pages % BITMAP_WORD_BITS && b->todo[bitmap_words(b->n_pages) - 1] >> b->n_pages % BITMAP_WORD_BITS)
		abort();
}

static void converse(struct in *in, unsigned int answers)
{
	static struct page_requests q;
	struct merr why = MERR_INIT;
	struct rp_msg m;

	q = (struct page_requests){ .ram = &ram };
	while (rp_read(in, &m) == 0) {
		if (m.type == WIRE_RP_RECV_BITMAP)
			take_bitmap(in, &m);
		else if (page_requests_take(&q, &m, &why) < 0)
			break;
		for (unsigned int i = 0; i < answers || page_requests_full(&q); i++)
			answer(&q);
	}
	while (q.n)
		answer(&q);
}

static void open_stream(struct in *in, struct chan *chan, struct merr *err)
{
	static const uint8_t id[ATTACH_ID_LEN] = { 1 };
	const struct configuration configuration = { .has_uuid = true };
	struct opening o = { .handover_id = id, .guest = "vm", .configuration = &configuration, .offers = HELLO_FEATURES_ALL };
	static struct stats_page stats;
	struct rate rate;
	struct out *out;

	if (rate_init(&rate) < 0 || !(out = out_new(chan, &rate, &stats, -1)))
		abort();
	if (opening_send(out, in, &o, err) == 0 && (o.features & ~HELLO_FEATURES_ALL || o.peer == PEER_NONE))
		abort();
	out_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct merr err = MERR_INIT;
	struct chan *chan;
	struct in *in;
	int fds[2];

	if (size < 2 || size > INPUT_MAX)
		return 0;
	ram_once();
	all_missing();
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 || fd_write_full(fds[1], data + 1, size - 1) < 0)
		abort();
	(void)shutdown(fds[1], SHUT_WR);
	chan = chan_new(fds[0], -1);
	in = in_new(chan, NULL, &err);
	if (!in)
		abort();
	if (data[0] & 4)
		open_stream(in, chan, &err);
	else
		converse(in, data[0] & 3);
	(void)in_free(in);
	(void)chan_free(chan);
	(void)close(fds[1]);
	return 0;
}

static const struct grammar_row rows[] = {
	{ 'S', "<M*><M*><M*>" },
	{ 'M', "<00 03><=2 Q>" },
	{ 'M', "<00 04><00 0c><#8><#4>" },
	{ 'M', "<00 04><00 0c><00 00 00 00 00 00><10 00><00 00 10 00>" },
	{ 'M', "<00 05><=2 B><00 00 00 00 00 00 00 90><#144><01 23 45 67 89 ab cd ef>" },
	{ 'M', "<00 05><=2 B><00 00 00 00 00 00 00 08><#8><01 23 45 67 89 ab cd ef>" },
	{ 'M', "<00 05><=2 B><#8><#8><#8>" },
	{ 'M', "<4d 01><00 0a><00 01><#8>" },
	{ 'M', "<4d 01><00 0a><00 01><00 00 00 00 00 00 00 03>" },
	{ 'M', "<00 02><00 04>migd" },
	{ 'M', "<00 02><00 04><#4>" },
	{ 'M', "<00 01><00 04><#4>" },
	{ 'M', "<00 07><00 00>" },
	{ 'M', "<4d 03><=2 N>" },
	{ 'M', "<#2><=2 B>" },
	{ 'Q', "<00 00 00 00 00 00><10 00><00 00 10 00><=1 N>" },
	{ 'Q', "<00 00 00 00 00 20 00 00><00 20 00 00><=1 N>" },
	{ 'Q', "<#8><#4><=1 N>" },
	{ 'B', "<=1 N>" },
	{ 'N', "ram" },
	{ 'N', "huge" },
	{ 'N', "x" },
	{ 0, NULL },
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	return grammar_mutate(rows, 'S', 'M', 1, data, size, max_size, seed);
}
