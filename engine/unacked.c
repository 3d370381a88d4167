/* SPDX-License-Identifier: Apache-2.0 */
/* Pages on their way. */
#include "engine/unacked.h"

#include <errno.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fault.h"

/* A mark's cost is a few bytes each way and an interrupted splice at the receiver: once in 16 MiB that is not measurable. */
#define MARK_BYTES (16 * MIB)
/* A slow connection gets one a second all the same. */
#define MARK_NS NS_PER_SEC
#define LOOK_BYTES (256 * KIB)

int unacked_start(struct unacked *u, struct ram *ram, uint32_t *numbers)
{
	for (size_t i = 0; i < ram->n_blocks; i++) {
		ram->blocks[i].unacked = ram_bits_new(ram->blocks[i].n_pages);
		if (!ram->blocks[i].unacked)
			return -ENOMEM;
	}
	*u = (struct unacked){ .ram = ram, .numbers = numbers, .look_bytes = LOOK_BYTES, .marked_ns = clock_now_ns() };
	return 0;
}

void unacked_pass(struct unacked *u)
{
	u->n_marks = 0;
	u->from = (struct unacked_place){ 0 };
}

void unacked_sent(struct unacked *u, struct ram_file *b, uint64_t page, uint64_t n)
{
	bitmap_set_range(b->unacked, page, n);
	u->bytes += n * WIRE_PAGE_SIZE;
}

static bool is_due(struct unacked *u)
{
	if (u->bytes < u->look_bytes || u->n_marks == UNACKED_MARKS_MAX)
		return false;
	u->look_bytes = u->bytes + LOOK_BYTES;
	return u->bytes >= MARK_BYTES || clock_now_ns() - u->marked_ns >= MARK_NS;
}

bool unacked_mark(struct unacked *u, const struct ram_file *b, uint64_t page, uint32_t *ret)
{
	if (!is_due(u))
		return false;
	*ret = ++*u->numbers;
	u->marks[u->n_marks].number = *ret;
	u->marks[u->n_marks++].at = (struct unacked_place){ (size_t)(b - u->ram->blocks), page };
	u->bytes = 0;
	u->look_bytes = LOOK_BYTES;
	u->marked_ns = clock_now_ns();
	return true;
}

/* Without writing where nothing is set: that would take memory for the bitmap of memory never touched. */
static void clear(uint64_t *bits, uint64_t first, uint64_t end)
{
	uint64_t stop;

	while ((first = bitmap_next_set(bits, end, first)) < end) {
		stop = bitmap_next_clear(bits, end, first);
		bitmap_clear_range(bits, first, stop - first);
		first = stop;
	}
}

/* All before TO has arrived. */
static void advance(struct unacked *u, const struct unacked_place *to)
{
	struct ram_file *b;

	for (; u->from.block < to->block; u->from = (struct unacked_place){ .block = u->from.block + 1 }) {
		b = &u->ram->blocks[u->from.block];
		clear(b->unacked, u->from.page, b->n_pages);
	}
	if (to->block < u->ram->n_blocks)
		clear(u->ram->blocks[to->block].unacked, u->from.page, to->page);
	u->from = *to;
}

static void drop_marks(struct unacked *u, unsigned int n)
{
	u->n_marks -= n;
	for (unsigned int i = 0; i < u->n_marks; i++)
		u->marks[i] = u->marks[i + n];
}

void unacked_answered(struct unacked *u, uint32_t number, bool all)
{
	unsigned int n = 0;

	if (!u->ram)
		return;
	/* Numbers wrap around. */
	while (n < u->n_marks && (int32_t)(number - u->marks[n].number) >= 0)
		n++;
	if (n > 0)
		advance(u, &u->marks[n - 1].at);
	drop_marks(u, n);
	if (!all)
		return;
	for (size_t i = 0; i < u->ram->n_blocks; i++)
		clear(u->ram->blocks[i].unacked, 0, u->ram->blocks[i].n_pages);
	unacked_pass(u);
}

uint64_t unacked_take_back(struct unacked *u)
{
	uint64_t before = ram_todo_pages(u->ram);
	struct ram_file *b;

	if (fault_is_on("unacked-forgotten"))
		unacked_answered(u, *u->numbers, true);

	for (size_t i = 0; i < u->ram->n_blocks; i++) {
		b = &u->ram->blocks[i];
		for (uint64_t w = 0; w < bitmap_words(b->n_pages); w++) {
			if (!b->unacked[w])
				continue;
			b->todo[w] |= b->unacked[w];
			b->unacked[w] = 0;
		}
	}
	unacked_pass(u);
	u->bytes = 0;
	u->look_bytes = LOOK_BYTES;
	return ram_todo_pages(u->ram) - before;
}
