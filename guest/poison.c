/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged pages: reported by the VMM, told to the source's worker, and made on the target. */
#include "guest/poison.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/dispatch.h"

static bool covers(const struct poison_range *a, const struct poison_range *b)
{
	return a->block == b->block && a->first_page <= b->first_page &&
	       a->first_page + a->n_pages >= b->first_page + b->n_pages;
}

/* -ENOSPC: too many. */
static int add(struct poison *p, const struct poison_range *r)
{
	LOCK_SCOPE(&p->lock);

	for (uint32_t i = 0; i < p->n; i++)
		if (covers(&p->ranges[i], r))
			return 0;
	if (p->n == POISON_RANGES_MAX)
		return -ENOSPC;
	p->ranges[p->n++] = *r;
	return 0;
}

/* ---- the VMM's word ---- */

/* The part of [gpa, end) that slot S shows, in pages of its block. */
static bool in_slot(const struct ram_slot *s, uint64_t gpa, uint64_t end, struct poison_range *ret)
{
	uint64_t lo = max_u64(gpa, s->gpa), hi = min_u64(end, s->gpa + s->len);
	uint64_t first, last;

	if (lo >= hi)
		return false;
	first = (s->offset + lo - s->gpa) / DIRTY_PAGE_SIZE;
	last = (s->offset + hi - s->gpa - 1) / DIRTY_PAGE_SIZE;
	*ret = (struct poison_range){ .block = s->block, .first_page = first, .n_pages = last - first + 1 };
	return true;
}

int migd_guest_ram_poisoned(struct migd_guest *guest, uint64_t gpa, uint64_t len)
{
	const struct guest_tables *t = &guest->tables;
	struct poison_range range;
	bool found = false;
	uint64_t end;
	int r = 0;

	if (!guest->started)
		return guest_failf(-EINVAL, "migd_guest_ram_poisoned() before migd_guest_start()");
	if (!len || !add_ok(gpa, len, &end))
		return guest_failf(-EINVAL, "%" PRIu64 " bytes at 0x%" PRIx64 " are no range", len, gpa);
	for (size_t i = 0; r == 0 && i < t->n_slots; i++)
		if (in_slot(&t->slots[i], gpa, end, &range)) {
			found = true;
			r = add(&guest->poison, &range);
		}
	if (r < 0)
		return guest_failf(r, "more than %u ranges of guest memory are damaged", POISON_RANGES_MAX);
	return found ? 0 : guest_failf(-EINVAL, "there is no memory at 0x%" PRIx64, gpa);
}

/* ---- source ---- */

int handle_ram_poison(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct poison_range range = { 0 };
	struct attach_ram_poison req;
	uint32_t total;

	if (CALL_DECODE(c, ram_poison, &req, err) < 0)
		return -EBADMSG;
	{
		LOCK_SCOPE(&g->poison.lock);
		total = g->poison.n;
		if (req.index < total)
			range = g->poison.ranges[req.index];
	}
	return CALL_REPLY(c, ram_poison_reply, .total = total, .block = range.block,
			  .first_page = range.first_page, .n_pages = range.n_pages);
}

/* ---- target ---- */

/* Make the pages of RANGE that slot S shows unusable. */
static int poison_slot(struct migd_guest *g, const struct ram_slot *s, const struct poison_range *range,
		       struct merr *err)
{
	uint64_t start = range->first_page * DIRTY_PAGE_SIZE;
	uint64_t lo = max_u64(start, s->offset);
	uint64_t hi = min_u64(start + range->n_pages * DIRTY_PAGE_SIZE, s->offset + s->len);
	uint64_t gpa;
	int r;

	if (s->block != range->block || lo >= hi)
		return 0;
	gpa = s->gpa + lo - s->offset;
	if (!g->hooks.poison)
		return merr_set(err, -ENOTSUP,
				"the guest's memory at 0x%" PRIx64 " is damaged at the source, and this VMM has "
				"no hook 'poison' to make it so here", gpa);
	r = g->hooks.poison(g->opaque, gpa, hi - lo);
	return r < 0 ? merr_set_errno(err, r, "the guest's memory at 0x%" PRIx64 " is damaged at the source, and "
				      "cannot be made so here", gpa) : 0;
}

int handle_ram_poison_set(struct migd_guest *g, struct call *c, struct merr *err)
{
	const struct guest_tables *t = &g->tables;
	struct attach_ram_poison_set req;
	struct poison_range range;
	int r = 0;

	if (CALL_DECODE(c, ram_poison_set, &req, err) < 0)
		return -EBADMSG;
	if (req.block >= t->n_blocks || !req.n_pages ||
	    !range_ok(req.first_page, req.n_pages, t->blocks[req.block].len / DIRTY_PAGE_SIZE))
		return merr_set(err, -EBADMSG, "RAM_POISON_SET: %" PRIu64 " pages from %" PRIu64 " of block %"
				PRIu32, req.n_pages, req.first_page, req.block);
	range = (struct poison_range){ .block = req.block, .first_page = req.first_page,
				       .n_pages = req.n_pages };
	for (size_t i = 0; r == 0 && i < t->n_slots; i++)
		r = poison_slot(g, &t->slots[i], &range, err);
	if (r < 0)
		return r;
	r = add(&g->poison, &range);
	return r < 0 ? merr_set(err, r, "more than %u ranges of guest memory are damaged", POISON_RANGES_MAX) : 0;
}
