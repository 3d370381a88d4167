/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migd_guest_mark_dirty(): what the VMM itself wrote to guest memory, which KVM does not see.
 * Wait-free.
 */
#include "base/bitmap.h"
#include "base/bytes.h"
#include "guest/dirty.h"

/* Mark bytes [start, start + len) of BLOCK. */
static void mark_block(struct dirty *d, size_t block, uint64_t start, uint64_t len)
{
	uint64_t first = start / DIRTY_PAGE_SIZE, last = (start + len - 1) / DIRTY_PAGE_SIZE;

	bitmap_atomic_or_range(d->maps[block].bits, first, last - first + 1);
}

/* The part of [start, start + len) that lies in [base, base + size): false if none. */
static bool clip(uint64_t start, uint64_t len, uint64_t base, uint64_t size, uint64_t *ret_offset,
		 uint64_t *ret_len)
{
	uint64_t end, lo = max_u64(start, base), hi;

	if (!add_ok(start, len, &end))
		end = UINT64_MAX;
	hi = min_u64(end, base + size);
	if (lo >= hi)
		return false;
	*ret_offset = lo - base;
	*ret_len = hi - lo;
	return true;
}

void dirty_mark_gpa(struct dirty *d, uint64_t gpa, uint64_t len)
{
	const struct guest_tables *t = d->tables;
	uint64_t offset, n;

	if (!dirty_is_tracking(d) || !dirty_write_begin(d))
		return;
	for (size_t i = 0; i < t->n_slots; i++)
		if (clip(gpa, len, t->slots[i].gpa, t->slots[i].len, &offset, &n))
			mark_block(d, t->slots[i].block, t->slots[i].offset + offset, n);
	dirty_write_end(d);
}

void dirty_mark_host(struct dirty *d, const void *host, uint64_t len)
{
	const struct guest_tables *t = d->tables;
	uint64_t offset, n;

	if (!dirty_is_tracking(d) || !dirty_write_begin(d))
		return;
	for (size_t i = 0; i < t->n_blocks; i++)
		if (clip((uintptr_t)host, len, (uintptr_t)t->blocks[i].host, t->blocks[i].len,
			 &offset, &n))
			mark_block(d, i, offset, n);
	dirty_write_end(d);
}

void dirty_mark_all(struct dirty *d)
{
	const struct guest_tables *t = d->tables;

	if (!dirty_is_tracking(d) || !dirty_write_begin(d))
		return;
	for (size_t i = 0; i < t->n_blocks; i++)
		if (!(t->blocks[i].flags & MIGD_GUEST_RAM_READONLY))
			mark_block(d, i, 0, t->blocks[i].len);
	dirty_write_end(d);
}
