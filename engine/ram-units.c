/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/ram-units.h"

#include "base/bitmap.h"
#include "base/bytes.h"

/*
 * As ram_is_data(), which walks page by page to the end of what is alike: asked again and again for dense memory it would
 * cost its square. Only data is remembered. What has become a hole since reads as zeros; but a hole remembered from before
 * its pages were re-protected could have been written to.
 */
static bool is_data(struct ram_seen *seen, const struct ram_file *b, uint64_t page, uint64_t *ret_end)
{
	if (seen->block == b && page >= seen->first && page < seen->end) {
		*ret_end = seen->end;
		return true;
	}
	if (!ram_is_data(b, page, ret_end))
		return false;
	seen->block = b;
	seen->first = page;
	seen->end = *ret_end;
	return true;
}

static uint64_t unit_end(const struct ram_file *b, uint64_t unit)
{
	return min_u64(b->n_pages, (unit + 1) * RAM_UNIT_PAGES);
}

void ram_units_see(struct ram_seen *seen, struct ram_file *b, uint64_t first, uint64_t end)
{
	uint64_t page, unit, data_end;
	bool dense;

	for (page = first; (page = bitmap_next_set(b->todo, end, page)) < end; page = unit_end(b, unit)) {
		unit = page / RAM_UNIT_PAGES;
		if (b->units[unit] > RAM_UNIT_TOUCHED)
			continue;
		dense = is_data(seen, b, unit * RAM_UNIT_PAGES, &data_end) && data_end >= unit_end(b, unit);
		b->units[unit] = dense ? RAM_UNIT_DENSE : RAM_UNIT_NEW;
	}
}

/*
 * Where a unit has been sent before nobody asks where its holes are: finding the end of dense memory costs the kernel 10 ns a
 * page, and the guest may be standing still. Read by pread(), a hole is zeros and stays one.
 */
struct ram_stretch ram_units_look(struct ram_seen *seen, const struct ram_file *b, uint64_t page)
{
	uint64_t unit = page / RAM_UNIT_PAGES, n_units = ram_n_units(b);
	struct ram_stretch st = { .data = true };

	switch (b->units[unit]) {
	case RAM_UNIT_NEW:
		st.data = is_data(seen, b, page, &st.end);
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

void ram_units_age(struct ram_file *b)
{
	for (uint64_t unit = 0, n = ram_n_units(b); unit < n; unit++)
		if (b->units[unit] == RAM_UNIT_NEW)
			b->units[unit] = RAM_UNIT_MIXED;
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

/* There is something in the units of [first, end): finding the end of dense memory is worth it once. */
static void touch_units(struct ram_file *b, uint64_t first, uint64_t end)
{
	for (uint64_t unit = first; unit < end; unit++)
		if (b->units[unit] == RAM_UNIT_UNSEEN)
			b->units[unit] = RAM_UNIT_TOUCHED;
}

uint64_t ram_units_skip_holes(struct ram_file *b)
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
			touch_units(b, unit, last);
			continue;
		}
		/* Whole units of the hole; the block's last one may be short. */
		last = end == b->n_pages ? n_units : end / RAM_UNIT_PAGES;
		skipped += skip_units(b, unit, last);
		if (last <= unit) {
			last = unit + 1;
			touch_units(b, unit, last);
		}
	}
	return skipped;
}

void ram_units_recall(struct ram_file *b, uint64_t page, uint64_t n)
{
	uint64_t first;

	for (uint64_t unit = page / RAM_UNIT_PAGES; unit * RAM_UNIT_PAGES < page + n; unit++) {
		if (b->units[unit] != RAM_UNIT_UNSEEN)
			continue;
		b->units[unit] = RAM_UNIT_MIXED;
		first = unit * RAM_UNIT_PAGES;
		bitmap_set_range(b->todo, first, min_u64(RAM_UNIT_PAGES, b->n_pages - first));
	}
}
