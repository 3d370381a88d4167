/* SPDX-License-Identifier: Apache-2.0 */
/* Sending RAM. */
#include "engine/ram-source.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "engine/ram-hints.h"
#include "engine/ram-pages.h"
#include "engine/ram-units.h"
#include "engine/wire.h"

struct ram_source {
	struct ram *ram;
	struct guest_link *guest;
	struct stats_page *stats;
	struct ram_pages pages;
	struct ram_sink *sink;			/* owned; NULL: pages go into the stream */
	struct unacked *unacked;		/* borrowed; NULL: nobody asks what arrived */
	ram_feed_fn feed;			/* NULL: pages are found in `todo` */
	void *feed_opaque;
	struct ram_seen seen;			/* in this pass */
	bool named;				/* name_blocks() is done */
	bool enough;				/* the pass is to end early */
	bool ignore_hints;
	uint64_t n_syncs;
	uint64_t dirtied_pages;			/* by all syncs but the first */
};

struct ram_source *ram_source_new(struct ram *ram, struct out *out, struct guest_link *guest,
				  struct stats_page *stats, bool runs)
{
	struct ram_source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct ram_source){ .ram = ram, .guest = guest, .stats = stats };
	s->pages = (struct ram_pages){ .ram = ram };
	s->pages.rec = (struct ram_records){
		.out = out, .stats = stats, .kernels = kernels_best(), .runs = runs
	};
	s->pages.poison.guest = guest;
	return ram_pages_init(&s->pages) == 0 ? s : ram_source_free(s);
}

struct ram_source *ram_source_free(struct ram_source *s)
{
	if (s) {
		ram_pages_done(&s->pages);
		if (s->sink)
			s->sink->ops->free(s->sink);
	}
	free(s);
	return NULL;
}

void ram_source_on_tick(struct ram_source *s, ram_tick_fn fn, void *opaque)
{
	s->pages.tick = fn;
	s->pages.tick_opaque = opaque;
}

void ram_source_use_feed(struct ram_source *s, ram_feed_fn fn, void *opaque)
{
	s->feed = fn;
	s->feed_opaque = opaque;
}

void ram_source_detect_zeros(struct ram_source *s, bool on)
{
	s->pages.rec.all_in_full = !on;
}

void ram_source_use_sink(struct ram_source *s, struct ram_sink *k)
{
	s->sink = k;
}

void ram_source_tell_poison(struct ram_source *s)
{
	s->pages.poison.can_send = true;
}

void ram_source_track(struct ram_source *s, struct unacked *u)
{
	s->unacked = u;
}

int ram_source_use_xbzrle(struct ram_source *s, const _Atomic uint64_t *cache_bytes)
{
	s->pages.rec.delta = ram_delta_new(s->ram->total_bytes / WIRE_PAGE_SIZE, cache_bytes, s->stats);
	return s->pages.rec.delta ? 0 : -ENOMEM;
}

/* Everything the sink was given is sent. */
static int drain_sink(struct ram_source *s, struct merr *err)
{
	int r, ticked;

	do {
		r = s->sink->ops->drain(s->sink, err);
		ticked = ram_pages_flush(&s->pages);
	} while (r == -EAGAIN && ticked == 0);
	return r < 0 && r != -EAGAIN ? r : ticked;
}

/* What the stream was told of pages so far counts before what the sink is given from here on. */
static int order_sink(struct ram_source *s, struct merr *err)
{
	int r;

	if (!s->sink || !s->sink->ops->order)
		return 0;
	r = drain_sink(s, err);
	return r < 0 ? r : s->sink->ops->order(s->sink, s->pages.rec.out, err);
}

int ram_source_list(struct ram_source *s, struct merr *err)
{
	const struct ram_sink_ops *ops = s->sink ? s->sink->ops : NULL;
	int r = 0;

	ram_records_list(&s->pages.rec, s->ram);
	for (size_t i = 0; r == 0 && i < s->ram->n_blocks; i++) {
		ram_records_list_block(&s->pages.rec, s->ram, &s->ram->blocks[i]);
		if (ops && ops->list_block)
			r = ops->list_block(s->sink, s->pages.rec.out, &s->ram->blocks[i], err);
	}
	if (r == 0 && ops)
		r = drain_sink(s, err);
	if (r == 0 && ops && ops->end_list)
		r = ops->end_list(s->sink, s->pages.rec.out, err);
	out_be64(s->pages.rec.out, WIRE_RAM_EOS);
	return r;
}

void ram_source_found_zero(struct ram_source *s, struct ram_file *b, uint64_t page, uint64_t n)
{
	ram_records_zero(&s->pages.rec, b, page, n);
}

int ram_source_found_damaged(struct ram_source *s, struct ram_file *b, uint64_t page, struct merr *err)
{
	return ram_poison_found(&s->pages.poison, b, page, err);
}

int ram_source_found_unreadable(struct ram_source *s, struct ram_file *b, uint64_t page, int error, struct merr *err)
{
	return ram_pages_unreadable(&s->pages, b, page, error, err);
}

/* Pages for the sink, which may be busy with those of before. */
static int sink_pages(struct ram_source *s, struct ram_file *b, uint64_t page, uint64_t n, bool dense,
		      struct merr *err)
{
	int r, ticked;

	do {
		r = s->sink->ops->pages(s->sink, b, page, n, dense && !ram_is_huge(b), err);
		ticked = ram_pages_flush(&s->pages);
	} while (r == -EAGAIN && ticked == 0);
	return r < 0 && r != -EAGAIN ? r : ticked;
}

int ram_source_zeros(struct ram_source *s, struct ram_file *b, uint64_t page, uint64_t n, struct merr *err)
{
	if (s->sink && s->sink->ops->zero)
		return s->sink->ops->zero(s->sink, b, page, n, err);
	ram_records_zero(&s->pages.rec, b, page, n);
	return 0;
}

int ram_source_copies(struct ram_source *s, struct ram_file *b, uint64_t page, uint64_t n, const uint8_t *data,
		      struct merr *err)
{
	int r = 0;

	if (s->sink)
		r = s->sink->ops->copies(s->sink, b, page, n, data, err);
	else
		ram_records_pages(&s->pages.rec, b, page, n, data);
	return r < 0 ? r : ram_pages_flush(&s->pages);
}

/* What is sent next may get lost. */
static void note_sent(struct ram_source *s, struct ram_file *b, uint64_t page, uint64_t n)
{
	uint32_t number;

	if (!s->unacked)
		return;
	if (unacked_mark(s->unacked, b, page, &number))
		ram_records_mark(&s->pages.rec, number);
	unacked_sent(s->unacked, b, page, n);
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
	struct ram_stretch st = { .end = first };
	int r;

	while (!s->enough && (page = bitmap_next_set(b->todo, end, page)) < end) {
		if (s->n_syncs != n_syncs) {
			n_syncs = s->n_syncs;
			ram_units_see(&s->seen, b, page, end);
			st.end = page;
		}
		if (page >= st.end)
			st = ram_units_look(&s->seen, b, page);
		run_end = bitmap_next_clear(b->todo, min_u64(end, st.end), page);
		stop = st.data ? min_u64(run_end, page + RAM_WINDOW_PAGES) : run_end;
		bitmap_clear_range(b->todo, page, stop - page);
		note_sent(s, b, page, stop - page);
		if (!st.data)
			r = ram_source_zeros(s, b, page, stop - page, err);
		else if (s->sink)
			r = sink_pages(s, b, page, stop - page, st.dense, err);
		else
			r = ram_pages_send(&s->pages, b, page, stop - page, st.dense, err);
		if (r < 0)
			return r;
		page = stop;
	}
	return 0;
}

static bool is_poison_unsent(const struct ram_source *s)
{
	for (size_t i = 0; i < s->ram->n_blocks; i++)
		if (s->ram->blocks[i].poison_unsent)
			return true;
	return false;
}

static void put_poison(struct ram_source *s, struct ram_file *b)
{
	if (b->poison_unsent)
		ram_records_poison(&s->pages.rec, b);
	b->poison_unsent = false;
}

/* The sink may still be sending what these pages held when they were well: that must not come later. */
static int tell_poison(struct ram_source *s, struct ram_file *b, struct merr *err)
{
	int r;

	if (!b->poison_unsent)
		return 0;
	r = order_sink(s, err);
	if (r < 0)
		return r;
	put_poison(s, b);
	return 0;
}

/* The end of a pass. What the sink is done with by then may have turned out to be damaged. */
static int end_sink_pass(struct ram_source *s, bool stopped, struct merr *err)
{
	const struct ram_sink_ops *ops = s->sink->ops;
	int r = drain_sink(s, err);

	if (r == 0 && is_poison_unsent(s)) {
		r = ops->order ? ops->order(s->sink, s->pages.rec.out, err) : 0;
		for (size_t i = 0; i < s->ram->n_blocks; i++)
			put_poison(s, &s->ram->blocks[i]);
		r = r < 0 ? r : drain_sink(s, err);
	}
	return r == 0 && ops->end_pass ? ops->end_pass(s->sink, s->pages.rec.out, stopped, err) : r;
}

static int send_block(struct ram_source *s, unsigned int index, bool stopped, struct merr *err)
{
	struct ram_file *b = &s->ram->blocks[index];
	uint64_t first = 0, end;
	int r;

	r = tell_poison(s, b, err);
	if (r < 0)
		return r;
	while (!s->enough) {
		first = bitmap_next_set(b->todo, b->n_pages, first) / RAM_UNIT_PAGES * RAM_UNIT_PAGES;
		if (bitmap_next_set(b->todo, b->n_pages, first) == b->n_pages)
			break;
		end = min_u64(b->n_pages, first + ATTACH_CLEAR_PAGES_MAX);
		if (!s->ignore_hints)
			stats_add(s->stats, hinted_pages, ram_hints_skip(b, first, end));
		if (!stopped) {
			r = guest_dirty_clear(s->guest, index, first,
					      b->todo + first / BITMAP_WORD_BITS, end - first, err);
			if (r < 0)
				return r;
		}
		ram_units_see(&s->seen, b, first, end);
		r = send_stretch(s, b, first, end, err);
		if (r < 0)
			return r;
		first = end;
	}
	return tell_poison(s, b, err);
}

/*
 * With x-ignore-shared the destination cannot tell a block that was left out, for it is shared here, from one that is all
 * holes: of each that is sent there is a record at least. It comes before all others, and says nothing that they do not.
 */
static int name_blocks(struct ram_source *s, struct merr *err)
{
	int r = 0;

	if (s->named || !s->ram->ignore_shared || s->n_syncs == 0)
		return 0;
	for (size_t i = 0; r == 0 && i < s->ram->n_blocks; i++)
		if (!s->ram->blocks[i].ignored)
			r = ram_source_zeros(s, &s->ram->blocks[i], 0, 1, err);
	s->named = true;
	return r < 0 ? r : order_sink(s, err);
}

static int send_blocks(struct ram_source *s, bool stopped, struct merr *err)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < s->ram->n_blocks; i++) {
		ram_units_age(&s->ram->blocks[i]);
		r = send_block(s, i, stopped, err);
	}
	return r;
}

int ram_source_begin_anew(struct ram_source *s, struct out *out, struct merr *err)
{
	int r = ram_records_begin_anew(&s->pages.rec, out);

	if (r < 0)
		return merr_set_errno(err, r, "xbzrle cache");
	s->pages.buffered = 0;
	for (size_t i = 0; i < s->ram->n_blocks; i++) {
		s->ram->blocks[i].poison_unsent = s->ram->blocks[i].poison != NULL;
		/* What names a block says that this page is zero. */
		if (s->named && !s->ram->blocks[i].ignored)
			bitmap_set(s->ram->blocks[i].todo, 0);
	}
	s->named = false;
	ram_poison_skip(s->ram);
	return 0;
}

int ram_source_pass(struct ram_source *s, bool stopped, struct merr *err)
{
	int r = name_blocks(s, err);

	if (r < 0)
		return r;
	s->seen = (struct ram_seen){ 0 };
	s->enough = false;
	/* Once the guest is stopped there is no other connection. */
	if (stopped)
		s->unacked = NULL;
	if (s->unacked)
		unacked_pass(s->unacked);
	if (s->pages.rec.delta)
		ram_delta_pass(s->pages.rec.delta);
	s->pages.buffered = 0;
	r = s->feed ? s->feed(s->feed_opaque, err) : send_blocks(s, stopped, err);
	if (r < 0)
		return r;
	if (stopped && s->enough)
		return merr_set(err, -EIO, "the last pass was ended before all pages were sent");
	r = s->sink ? end_sink_pass(s, stopped, err) : 0;
	out_be64(s->pages.rec.out, WIRE_RAM_EOS);
	return r;
}

void ram_source_use(struct ram_source *s, struct out *out)
{
	s->pages.rec.out = out;
}

void ram_source_end_pass(struct ram_source *s)
{
	s->enough = true;
}

void ram_source_ignore_hints(struct ram_source *s)
{
	s->ignore_hints = true;
}

/* Of a huge page that is not all there over there all is sent again: it is placed as a whole. */
static void round_todo(struct ram_file *b)
{
	uint64_t page_pages = b->page_size / WIRE_PAGE_SIZE, page = 0, end;

	while (ram_is_huge(b) && (page = bitmap_next_set(b->todo, b->n_pages, page)) < b->n_pages) {
		page -= page % page_pages;
		end = min_u64(page + page_pages, b->n_pages);
		bitmap_set_range(b->todo, page, end - page);
		page = end;
	}
}

bool ram_source_leave(struct ram_source *s)
{
	struct ram_file *b;

	for (size_t i = 0; i < s->ram->n_blocks; i++) {
		b = &s->ram->blocks[i];
		if (!s->ignore_hints)
			stats_add(s->stats, hinted_pages, ram_hints_skip(b, 0, b->n_pages));
		round_todo(b);
	}
	ram_poison_skip(s->ram);
	if (s->sink)
		s->sink->ops->free(s->sink);
	s->sink = NULL;
	return is_poison_unsent(s);
}

void ram_source_tell_damage(struct ram_source *s)
{
	for (size_t i = 0; i < s->ram->n_blocks; i++)
		put_poison(s, &s->ram->blocks[i]);
	out_be64(s->pages.rec.out, WIRE_RAM_EOS);
}

uint64_t ram_source_todo_pages(const struct ram_source *s)
{
	return ram_todo_pages(s->ram);
}

int ram_source_sync(struct ram_source *s, uint64_t *ret_pages, struct merr *err)
{
	uint64_t skipped = 0, fresh;
	int r;

	r = ram_check_sizes(s->ram, err);
	if (r < 0)
		return r;
	r = guest_dirty_sync(s->guest, err);
	if (r < 0)
		return r;
	r = ram_poison_fetch(&s->pages.poison, s->ram, err);
	if (r < 0)
		return r;
	fresh = ram_take_dirty(s->ram);
	ram_hints_drop_dirty(s->ram);
	ram_poison_skip(s->ram);
	for (size_t i = 0; i < s->ram->n_blocks; i++)
		skipped += ram_units_skip_holes(&s->ram->blocks[i]);
	stats_set(s->stats, hole_pages, skipped);
	/* From the first on there is something that a hint can come after. */
	if (s->n_syncs == 0 && (r = ram_hints_start(s->guest, s->ram, err)) < 0)
		return r;
	if (s->n_syncs++ > 0)
		s->dirtied_pages += fresh - min_u64(fresh, skipped);
	*ret_pages = ram_todo_pages(s->ram);
	return 0;
}

uint64_t ram_source_dirtied_pages(const struct ram_source *s)
{
	return s->dirtied_pages;
}
