/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged pages: knowing them. */
#include "engine/ram-poison.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bitmap.h"
#include "base/bytes.h"

int ram_poison_mark(struct ram_file *b, uint64_t first, uint64_t n, bool *ret_fresh)
{
	uint64_t per = b->page_size / WIRE_PAGE_SIZE, end = min_u64(b->n_pages, round_up(first + n, per));

	first = first / per * per;
	if (!b->poison)
		b->poison = ram_bits_new(b->n_pages);
	if (!b->poison)
		return -ENOMEM;
	*ret_fresh = bitmap_count_range(b->poison, first, end - first) < end - first;
	bitmap_set_range(b->poison, first, end - first);
	return 0;
}

static int take(const struct ram_poison *p, struct ram_file *b, uint64_t first, uint64_t n,
		struct merr *err)
{
	bool fresh = false;
	int r;

	if (!p->can_send)
		return merr_set(err, -EOPNOTSUPP, "page 0x%" PRIx64 " of RAM block '%s' is damaged, which the "
				"destination cannot be told: it would get zeros unnoticed. Only a migd can take "
				"this guest", first * WIRE_PAGE_SIZE, b->name);
	r = ram_poison_mark(b, first, n, &fresh);
	if (r < 0)
		return merr_set_errno(err, r, "list of damaged pages");
	if (fresh)
		b->poison_unsent = true;
	return 0;
}

int ram_poison_found(struct ram_poison *p, struct ram_file *b, uint64_t page, struct merr *err)
{
	return take(p, b, page, 1, err);
}

int ram_poison_fetch(struct ram_poison *p, struct ram *ram, struct merr *err)
{
	struct attach_ram_poison_reply rep;
	struct merr why = MERR_INIT;
	int r;

	while (!p->unsupported) {
		r = guest_ram_poison(p->guest, p->known, &rep, &why);
		if (r == -EOPNOTSUPP) {
			p->unsupported = true;
			return 0;
		}
		if (r < 0)
			return merr_copy(err, &why);
		if (p->known >= rep.total)
			return 0;
		if (rep.block >= ram->n_blocks || !rep.n_pages ||
		    !range_ok(rep.first_page, rep.n_pages, ram->blocks[rep.block].n_pages))
			return merr_set(err, -EBADMSG, "guest library: RAM_POISON: %" PRIu64 " pages from %"
					PRIu64 " of block %" PRIu32, rep.n_pages, rep.first_page, rep.block);
		p->known++;
		if (!ram->blocks[rep.block].ignored) {
			r = take(p, &ram->blocks[rep.block], rep.first_page, rep.n_pages, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

void ram_poison_skip(struct ram *ram)
{
	struct ram_file *b;

	for (size_t i = 0; i < ram->n_blocks; i++) {
		b = &ram->blocks[i];
		for (uint64_t w = 0; b->poison && w < bitmap_words(b->n_pages); w++)
			b->todo[w] &= ~b->poison[w];
	}
}
