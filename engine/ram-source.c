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
	uint64_t n_syncs;
	uint64_t dirtied_pages;			/* by all syncs but the first */
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

/* Send N pages; by reference only what has no holes, for populating a mapping allocates them. */
static int send_pages(struct ram_source *s, const struct ram_file *b, uint64_t page, uint64_t n,
		      bool dense, struct merr *err)
{
	uint64_t k;
	int r;

	for (; n > 0; page += k, n -= k) {
		/* A limited bandwidth is kept by smaller writes. */
		k = max_u64(out_batch_bytes(s->out) / WIRE_PAGE_SIZE, WINDOW_MIN_PAGES);
		k = min_u64(n, min_u64(k, WINDOW_PAGES));
		r = dense && k >= WINDOW_MIN_PAGES && !ram_is_huge(b) ? send_window(s, b, page, k) : 0;
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

static uint64_t unit_end(const struct ram_file *b, uint64_t unit)
{
	return min_u64(b->n_pages, (unit + 1) * RAM_UNIT_PAGES);
}

/* Look at the units of [first, end) that are about to be sent for the first time. */
static void see_units(struct ram_source *s, struct ram_file *b, uint64_t first, uint64_t end)
{
	uint64_t page, unit, data_end;
	bool dense;

	for (page = first; (page = bitmap_next_set(b->todo, end, page)) < end; page = unit_end(b, unit)) {
		unit = page / RAM_UNIT_PAGES;
		if (b->units[unit] != RAM_UNIT_UNSEEN)
			continue;
		dense = is_data(s, b, unit * RAM_UNIT_PAGES, &data_end) && data_end >= unit_end(b, unit);
		b->units[unit] = dense ? RAM_UNIT_DENSE : RAM_UNIT_NEW;
	}
}

/* What a run of pages in `todo` is, as far as it is alike. */
struct stretch {
	uint64_t end;
	bool data;	/* false: a hole */
	bool dense;	/* no hole in it, as far as is known */
};

/*
 * Where a unit has been sent before nobody asks where its holes are: finding the end of dense memory costs the kernel 10 ns a
 * page, and the guest may be standing still. Read by pread(), a hole is zeros and stays one.
 */
static struct stretch look(struct ram_source *s, const struct ram_file *b, uint64_t page)
{
	uint64_t unit = page / RAM_UNIT_PAGES, n_units = ram_n_units(b);
	struct stretch st = { .data = true };

	switch (b->units[unit]) {
	case RAM_UNIT_NEW:
		st.data = is_data(s, b, page, &st.end);
		st.dense = st.data;
		break;
	case RAM_UNIT_MIXED:
		st.end = unit_end(b, unit);
		break;
	default:
		st.dense = true;
		while (unit < n_units && b->units[unit] == RAM_UNIT_DENSE)
			st.end = unit_end(b, unit++);
	}
	return st;
}

/*
 * Send the `todo` pages of [first, end), holes as zeros. They are taken off the list before they are read: a sync in
 * mid-pass puts back what was written since. It may also add pages in units that nobody has looked at, and what was known
 * to be a hole may be none any more.
 */
static int send_stretch(struct ram_source *s, struct ram_file *b, uint64_t first, uint64_t end,
			struct merr *err)
{
	uint64_t page = first, n_syncs = s->n_syncs, run_end, stop;
	struct stretch st = { .end = first };
	int r;

	while ((page = bitmap_next_set(b->todo, end, page)) < end) {
		if (s->n_syncs != n_syncs) {
			n_syncs = s->n_syncs;
			see_units(s, b, page, end);
			st.end = page;
		}
		if (page >= st.end)
			st = look(s, b, page);
		run_end = bitmap_next_clear(b->todo, min_u64(end, st.end), page);
		stop = st.data ? min_u64(run_end, page + WINDOW_PAGES) : run_end;
		bitmap_clear_range(b->todo, page, stop - page);
		if (!st.data)
			send_zero(s, b, page, stop - page);
		else if ((r = send_pages(s, b, page, stop - page, st.dense, err)) < 0)
			return r;
		page = stop;
	}
	return 0;
}

static int send_block(struct ram_source *s, unsigned int index, bool stopped, struct merr *err)
{
	struct ram_file *b = &s->ram->blocks[index];
	uint64_t first = 0, end;
	int r;

	for (;;) {
		first = bitmap_next_set(b->todo, b->n_pages, first) / RAM_UNIT_PAGES * RAM_UNIT_PAGES;
		if (bitmap_next_set(b->todo, b->n_pages, first) == b->n_pages)
			return 0;
		end = min_u64(b->n_pages, first + ATTACH_CLEAR_PAGES_MAX);
		if (!stopped) {
			r = guest_dirty_clear(s->guest, index, first,
					      b->todo + first / BITMAP_WORD_BITS, end - first, err);
			if (r < 0)
				return r;
		}
		see_units(s, b, first, end);
		r = send_stretch(s, b, first, end, err);
		if (r < 0)
			return r;
		first = end;
	}
}

/* What the pass before saw for the first time it has sent. */
static void age_units(struct ram_file *b)
{
	for (uint64_t unit = 0, n = ram_n_units(b); unit < n; unit++)
		if (b->units[unit] == RAM_UNIT_NEW)
			b->units[unit] = RAM_UNIT_MIXED;
}

int ram_source_pass(struct ram_source *s, bool stopped, struct merr *err)
{
	int r;

	s->data_block = NULL;
	s->buffered = 0;
	for (unsigned int i = 0; i < s->ram->n_blocks; i++) {
		age_units(&s->ram->blocks[i]);
		r = send_block(s, i, stopped, err);
		if (r < 0)
			return r;
	}
	out_be64(s->out, WIRE_RAM_EOS);
	return 0;
}

/* Take the units of [first, end) off `todo` that were never looked at; all are holes. */
static uint64_t skip_units(struct ram_file *b, uint64_t first, uint64_t end)
{
	uint64_t n, skipped = 0;

	for (uint64_t unit = first; unit < end; unit++) {
		if (b->units[unit] != RAM_UNIT_UNSEEN)
			continue;
		n = unit_end(b, unit) - unit * RAM_UNIT_PAGES;
		bitmap_clear_range(b->todo, unit * RAM_UNIT_PAGES, n);
		skipped += n;
	}
	return skipped;
}

/* Drop what was never touched from `todo`; returns how many pages that were. */
static uint64_t skip_holes(struct ram_file *b)
{
	uint64_t n_units = ram_n_units(b), skipped = 0, end, last;
	uint64_t page;

	for (uint64_t unit = 0; unit < n_units; unit = last) {
		page = bitmap_next_set(b->todo, b->n_pages, unit * RAM_UNIT_PAGES);
		if (page == b->n_pages)
			break;
		unit = page / RAM_UNIT_PAGES;
		last = unit + 1;
		if (b->units[unit] != RAM_UNIT_UNSEEN)
			continue;
		if (ram_is_data(b, unit * RAM_UNIT_PAGES, &end)) {
			last = max_u64(last, end / RAM_UNIT_PAGES);
			continue;
		}
		/* Whole units of the hole; the block's last one may be short. */
		last = end == b->n_pages ? n_units : end / RAM_UNIT_PAGES;
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
	uint64_t skipped = 0, fresh;
	int r;

	r = guest_dirty_sync(s->guest, err);
	if (r < 0)
		return r;
	fresh = ram_take_dirty(s->ram);
	for (size_t i = 0; i < s->ram->n_blocks; i++)
		skipped += skip_holes(&s->ram->blocks[i]);
	stats_set(s->stats, hole_pages, skipped);
	if (s->n_syncs++ > 0)
		s->dirtied_pages += fresh - min_u64(fresh, skipped);
	*ret_pages = ram_todo_pages(s->ram);
	return 0;
}

uint64_t ram_source_dirtied_pages(const struct ram_source *s)
{
	return s->dirtied_pages;
}
