/* SPDX-License-Identifier: Apache-2.0 */
/* Sending RAM. */
#include "engine/ram-source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "engine/kernels/kernels.h"
#include "engine/wire.h"

/* The unit in which untouched memory is skipped: a huge page's worth, eight words of a bitmap. */
#define UNIT_PAGES 512U
#define UNIT_WORDS (UNIT_PAGES / BITMAP_WORD_BITS)

/* Pages of short runs are gathered here before they are sent; fits a core's second-level cache. */
#define BUFFER_PAGES 64U

/*
 * Longer runs are mapped and sent by reference, a window at a time: 2 MiB is one page of page table, and as fast as any
 * larger size. Shorter ones are not worth the mapping.
 */
#define WINDOW_PAGES 512U
#define WINDOW_MIN_PAGES 64U

struct ram_source {
	struct ram *ram;
	struct out *out;
	struct guest_link *guest;
	struct stats_page *stats;
	const struct kernels *kernels;
	bool runs;
	ram_tick_fn tick;
	void *tick_opaque;
	const struct ram_file *last_block;	/* of the last page record: CONTINUE (WIRE.md 3.1) */
	const struct ram_file *data_block;	/* the last stretch of memory found touched: */
	uint64_t data_first, data_end;		/* pages [first, end); of this pass */
	uint32_t buffered;			/* pages of the buffer that `out` refers to */
	uint8_t *buffer;
};

struct ram_source *ram_source_new(struct ram *ram, struct out *out, struct guest_link *guest,
				  struct stats_page *stats, bool runs)
{
	struct ram_source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct ram_source){
		.ram = ram, .out = out, .guest = guest, .stats = stats, .kernels = kernels_best(), .runs = runs
	};
	s->buffer = aligned_alloc(WIRE_PAGE_SIZE, (size_t)BUFFER_PAGES * WIRE_PAGE_SIZE);
	return s->buffer ? s : ram_source_free(s);
}

struct ram_source *ram_source_free(struct ram_source *s)
{
	if (s)
		free(s->buffer);
	free(s);
	return NULL;
}

void ram_source_on_tick(struct ram_source *s, ram_tick_fn fn, void *opaque)
{
	s->tick = fn;
	s->tick_opaque = opaque;
}

void ram_source_list(struct ram_source *s)
{
	struct out *out = s->out;

	out_be64(out, s->ram->total_bytes | WIRE_RAM_MEM_SIZE);
	for (size_t i = 0; i < s->ram->n_blocks; i++) {
		out_str8(out, s->ram->blocks[i].name);
		out_be64(out, s->ram->blocks[i].len);
	}
	out_be64(out, WIRE_RAM_EOS);
}

/* One record's head: address, flags, block name if it is another one than before, length of a run. */
static void record(struct ram_source *s, const struct ram_file *b, uint64_t page, uint64_t n,
		   uint64_t flags)
{
	uint64_t w = page * WIRE_PAGE_SIZE | flags;

	if (s->runs)
		w |= WIRE_RAM_RUN;
	if (s->last_block == b)
		w |= WIRE_RAM_CONTINUE;
	out_be64(s->out, w);
	if (s->last_block != b)
		out_str8(s->out, b->name);
	s->last_block = b;
	if (s->runs)
		out_be32(s->out, (uint32_t)n);
	else if (flags & WIRE_RAM_ZERO)
		out_u8(s->out, 0);
}

static void send_zero(struct ram_source *s, const struct ram_file *b, uint64_t page, uint64_t n)
{
	uint64_t step = s->runs ? WIRE_RUN_PAGES_MAX : 1;

	stats_add(s->stats, duplicate_pages, n);
	for (uint64_t k; n > 0; page += k, n -= k) {
		k = min_u64(n, step);
		record(s, b, page, k, WIRE_RAM_ZERO);
	}
}

static void send_data(struct ram_source *s, const struct ram_file *b, uint64_t page, uint64_t n,
		      const uint8_t *data)
{
	uint64_t step = s->runs ? n : 1;

	stats_add(s->stats, normal_pages, n);
	for (uint64_t k = 0; k < n; k += step) {
		record(s, b, page + k, step, WIRE_RAM_PAGE);
		out_ref(s->out, data + k * WIRE_PAGE_SIZE, step * WIRE_PAGE_SIZE);
	}
}

/* Send N pages that are in DATA, zero stretches apart from the others. */
static void send_buffer(struct ram_source *s, const struct ram_file *b, uint64_t page, uint64_t n,
			const uint8_t *data)
{
	const struct kernels *k = s->kernels;
	uint64_t from = 0, to;
	bool zero;

	while (from < n) {
		zero = k->is_zero(data + from * WIRE_PAGE_SIZE, WIRE_PAGE_SIZE);
		for (to = from + 1; to < n; to++)
			if (k->is_zero(data + to * WIRE_PAGE_SIZE, WIRE_PAGE_SIZE) != zero)
				break;
		if (zero)
			send_zero(s, b, page + from, to - from);
		else
			send_data(s, b, page + from, to - from, data + from * WIRE_PAGE_SIZE);
		from = to;
	}
}

/* Send all that refers to the buffer or a window, and see to what else there is to do. */
static int flush(struct ram_source *s)
{
	s->buffered = 0;
	if (out_flush(s->out) < 0)
		return out_error(s->out);
	return s->tick ? s->tick(s->tick_opaque) : 0;
}

/*
 * Send N pages (at most WINDOW_PAGES) by reference. 1: sent; 0: they cannot be mapped and populated, nothing was sent; or
 * -errno.
 */
static int send_window(struct ram_source *s, const struct ram_file *b, uint64_t page, uint64_t n)
{
	size_t len = n * WIRE_PAGE_SIZE;
	uint8_t *p;
	int r = 0;

	p = mmap(NULL, len, PROT_READ, MAP_SHARED, b->fd,
		 (off_t)(b->fd_offset + page * WIRE_PAGE_SIZE));
	if (p == MAP_FAILED)
		return 0;
	if (madvise(p, len, MADV_POPULATE_READ) == 0) {
		send_buffer(s, b, page, n, p);
		r = flush(s);
		if (r == 0)
			r = 1;
	}
	(void)munmap(p, len);
	return r;
}

/* Send N pages (at most BUFFER_PAGES) by way of the buffer; *ret_n: as many as had room. */
static int send_copied(struct ram_source *s, const struct ram_file *b, uint64_t page, uint64_t n,
		       uint64_t *ret_n, struct merr *err)
{
	uint8_t *data;
	int r;

	if (s->buffered == BUFFER_PAGES) {
		r = flush(s);
		if (r < 0)
			return r;
	}
	*ret_n = min_u64(n, BUFFER_PAGES - s->buffered);
	data = s->buffer + (size_t)s->buffered * WIRE_PAGE_SIZE;
	r = fd_pread_full(b->fd, data, *ret_n * WIRE_PAGE_SIZE, b->fd_offset + page * WIRE_PAGE_SIZE);
	if (r < 0)
		return merr_set_errno(err, r, "reading guest memory '%s' at page %llu", b->name,
				      (unsigned long long)page);
	s->buffered += (uint32_t)*ret_n;
	send_buffer(s, b, page, *ret_n, data);
	return 0;
}

/* Send N pages of memory that was touched. */
static int send_pages(struct ram_source *s, const struct ram_file *b, uint64_t page, uint64_t n,
		      struct merr *err)
{
	uint64_t k;
	int r;

	for (; n > 0; page += k, n -= k) {
		/* A limited bandwidth is kept by smaller writes. */
		k = max_u64(out_batch_bytes(s->out) / WIRE_PAGE_SIZE, WINDOW_MIN_PAGES);
		k = min_u64(n, min_u64(k, WINDOW_PAGES));
		r = k >= WINDOW_MIN_PAGES && !ram_is_huge(b) ? send_window(s, b, page, k) : 0;
		if (r == 0)
			r = send_copied(s, b, page, n, &k, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * As ram_is_data(), which walks page by page to the end of what is alike: asked again and again for dense memory it would
 * cost its square. Only data is remembered. What has become a hole since reads as zeros; but a hole remembered from before
 * its pages were re-protected could have been written to.
 */
static bool is_data(struct ram_source *s, const struct ram_file *b, uint64_t page, uint64_t *ret_end)
{
	if (s->data_block == b && page >= s->data_first && page < s->data_end) {
		*ret_end = s->data_end;
		return true;
	}
	if (!ram_is_data(b, page, ret_end))
		return false;
	s->data_block = b;
	s->data_first = page;
	s->data_end = *ret_end;
	return true;
}

/* Send the `todo` pages of [first, end), holes as zeros, and take them off the list. */
static int send_stretch(struct ram_source *s, struct ram_file *b, uint64_t first, uint64_t end,
			struct merr *err)
{
	uint64_t page = first, run_end, like_end = first, stop;
	bool data = false;
	int r;

	for (;;) {
		page = bitmap_next_set(b->todo, end, page);
		if (page == end)
			return 0;
		run_end = bitmap_next_clear(b->todo, end, page);
		while (page < run_end) {
			if (page >= like_end)
				data = is_data(s, b, page, &like_end);
			stop = min_u64(run_end, like_end);
			if (data) {
				r = send_pages(s, b, page, stop - page, err);
				if (r < 0)
					return r;
			} else {
				send_zero(s, b, page, stop - page);
			}
			bitmap_clear_range(b->todo, page, stop - page);
			page = stop;
		}
	}
}

static int send_block(struct ram_source *s, unsigned int index, bool stopped, struct merr *err)
{
	struct ram_file *b = &s->ram->blocks[index];
	uint64_t first = 0, end;
	int r;

	for (;;) {
		first = bitmap_next_set(b->todo, b->n_pages, first) / UNIT_PAGES * UNIT_PAGES;
		if (bitmap_next_set(b->todo, b->n_pages, first) == b->n_pages)
			return 0;
		end = min_u64(b->n_pages, first + ATTACH_CLEAR_PAGES_MAX);
		if (!stopped) {
			r = guest_dirty_clear(s->guest, index, first,
					      b->todo + first / BITMAP_WORD_BITS, end - first, err);
			if (r < 0)
				return r;
		}
		for (uint64_t w = first / BITMAP_WORD_BITS; w < bitmap_words(end); w++)
			b->sent[w] |= b->todo[w];
		r = send_stretch(s, b, first, end, err);
		if (r < 0)
			return r;
		first = end;
	}
}

int ram_source_pass(struct ram_source *s, bool stopped, struct merr *err)
{
	int r;

	s->data_block = NULL;
	s->buffered = 0;
	for (unsigned int i = 0; i < s->ram->n_blocks; i++) {
		r = send_block(s, i, stopped, err);
		if (r < 0)
			return r;
	}
	out_be64(s->out, WIRE_RAM_EOS);
	return 0;
}

/* True if nothing of this unit was ever sent or re-protected. */
static bool unit_unseen(const struct ram_file *b, uint64_t unit)
{
	uint64_t any = 0, words = bitmap_words(b->n_pages);

	for (uint64_t w = unit * UNIT_WORDS; w < min_u64(words, (unit + 1) * UNIT_WORDS); w++)
		any |= b->sent[w];
	return any == 0;
}

/* Take the units of [first, end) off `todo` that were never looked at; all are holes. */
static uint64_t skip_units(struct ram_file *b, uint64_t first, uint64_t end)
{
	uint64_t n, skipped = 0;

	for (uint64_t unit = first; unit < end; unit++) {
		if (!unit_unseen(b, unit))
			continue;
		n = min_u64(UNIT_PAGES, b->n_pages - unit * UNIT_PAGES);
		bitmap_clear_range(b->todo, unit * UNIT_PAGES, n);
		skipped += n;
	}
	return skipped;
}

/* Drop what was never touched from `todo`; returns how many pages that were. */
static uint64_t skip_holes(struct ram_file *b)
{
	uint64_t n_units = (b->n_pages + UNIT_PAGES - 1) / UNIT_PAGES, skipped = 0, end, last;
	uint64_t page;

	for (uint64_t unit = 0; unit < n_units; unit = last) {
		page = bitmap_next_set(b->todo, b->n_pages, unit * UNIT_PAGES);
		if (page == b->n_pages)
			break;
		unit = page / UNIT_PAGES;
		last = unit + 1;
		if (!unit_unseen(b, unit))
			continue;
		if (ram_is_data(b, unit * UNIT_PAGES, &end)) {
			last = max_u64(last, end / UNIT_PAGES);
			continue;
		}
		/* Whole units of the hole; the block's last one may be short. */
		last = end == b->n_pages ? n_units : end / UNIT_PAGES;
		skipped += skip_units(b, unit, last);
		last = max_u64(last, unit + 1);
	}
	return skipped;
}

uint64_t ram_source_todo_pages(const struct ram_source *s)
{
	return ram_todo_pages(s->ram);
}

int ram_source_sync(struct ram_source *s, uint64_t *ret_pages, struct merr *err)
{
	uint64_t skipped = 0;
	int r;

	r = guest_dirty_sync(s->guest, err);
	if (r < 0)
		return r;
	(void)ram_take_dirty(s->ram);
	for (size_t i = 0; i < s->ram->n_blocks; i++)
		skipped += skip_holes(&s->ram->blocks[i]);
	stats_set(s->stats, hole_pages, skipped);
	*ret_pages = ram_todo_pages(s->ram);
	return 0;
}
