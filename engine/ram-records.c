/* SPDX-License-Identifier: Apache-2.0 */
/* The records of the `ram` section, as they are written. */
#include "engine/ram-records.h"

#include "base/bitmap.h"
#include "base/bytes.h"
#include "engine/wire.h"
#include "engine/xbzrle.h"

void ram_records_list(struct ram_records *rec, const struct ram *ram)
{
	out_be64(rec->out, ram->total_bytes | WIRE_RAM_MEM_SIZE);
}

void ram_records_list_block(struct ram_records *rec, const struct ram *ram, const struct ram_file *b)
{
	out_str8(rec->out, b->name);
	out_be64(rec->out, b->len);
	if (ram->postcopy && ram_is_huge(b))
		out_be64(rec->out, b->page_size);
	if (ram->ignore_shared)
		out_be64(rec->out, b->gpa);
}

/* What each record begins with: address, flags, block name if it is another one than before. */
static void head(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint64_t flags)
{
	uint64_t w = page * WIRE_PAGE_SIZE | flags;

	if (rec->last_block == b)
		w |= WIRE_RAM_CONTINUE;
	out_be64(rec->out, w);
	if (rec->last_block != b)
		out_str8(rec->out, b->name);
	rec->last_block = b;
}

/* A head, and the length of the run where there is one. */
static void run_head(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint64_t n,
		     uint64_t flags)
{
	head(rec, b, page, flags | (rec->runs ? WIRE_RAM_RUN : 0));
	if (rec->runs)
		out_be32(rec->out, (uint32_t)n);
	else if (flags & WIRE_RAM_ZERO)
		out_u8(rec->out, 0);
}

void ram_records_zero(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint64_t n)
{
	uint64_t step = rec->runs ? WIRE_RUN_PAGES_MAX : 1;

	stats_add(rec->stats, duplicate_pages, n);
	if (ram_records_need_copies(rec))
		ram_delta_zero(rec->delta, b->first_page + page, n);
	for (uint64_t k; n > 0; page += k, n -= k) {
		k = min_u64(n, step);
		run_head(rec, b, page, k, WIRE_RAM_ZERO);
	}
}

static void data(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint64_t n,
		 const uint8_t *bytes)
{
	uint64_t step = rec->runs ? n : 1;

	stats_add(rec->stats, normal_pages, n);
	for (uint64_t k = 0; k < n; k += step) {
		run_head(rec, b, page + k, step, WIRE_RAM_PAGE);
		out_ref(rec->out, bytes + k * WIRE_PAGE_SIZE, step * WIRE_PAGE_SIZE);
	}
}

static bool is_zero(const struct ram_records *rec, const uint8_t *page)
{
	return !rec->all_in_full && rec->kernels->is_zero(page, WIRE_PAGE_SIZE);
}

void ram_records_pages(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint64_t n,
		       const uint8_t *bytes)
{
	uint64_t from = 0, to;
	bool zero;

	while (from < n) {
		zero = is_zero(rec, bytes + from * WIRE_PAGE_SIZE);
		for (to = from + 1; to < n; to++)
			if (is_zero(rec, bytes + to * WIRE_PAGE_SIZE) != zero)
				break;
		if (zero)
			ram_records_zero(rec, b, page + from, to - from);
		else
			data(rec, b, page + from, to - from, bytes + from * WIRE_PAGE_SIZE);
		from = to;
	}
}

static void delta(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint8_t *bytes)
{
	size_t len = 0;

	switch (ram_delta_page(rec->delta, b->first_page + page, bytes, &len)) {
	case DELTA_NONE:
		break;
	case DELTA_CODE:
		head(rec, b, page, WIRE_RAM_XBZRLE);
		out_u8(rec->out, XBZRLE_CODEC);
		out_be16(rec->out, (uint16_t)len);
		out_ref(rec->out, bytes, len);
		break;
	case DELTA_FULL:
		data(rec, b, page, 1, bytes);
		break;
	}
}

void ram_records_copies(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint64_t n,
			uint8_t *bytes)
{
	if (!ram_records_need_copies(rec)) {
		ram_records_pages(rec, b, page, n, bytes);
		return;
	}
	for (uint64_t i = 0; i < n; i++, bytes += WIRE_PAGE_SIZE) {
		if (is_zero(rec, bytes))
			ram_records_zero(rec, b, page + i, 1);
		else
			delta(rec, b, page + i, bytes);
	}
}

void ram_records_poison(struct ram_records *rec, const struct ram_file *b)
{
	uint64_t page = 0, end, n;

	while ((page = bitmap_next_set(b->poison, b->n_pages, page)) < b->n_pages) {
		end = bitmap_next_clear(b->poison, b->n_pages, page);
		for (; page < end; page += n) {
			n = min_u64(end - page, WIRE_RUN_PAGES_MAX);
			head(rec, b, page, WIRE_RAM_POISON | WIRE_RAM_RUN);
			out_be32(rec->out, (uint32_t)n);
		}
	}
}

void ram_records_mark(struct ram_records *rec, uint32_t number)
{
	out_be64(rec->out, (uint64_t)number << WIRE_PAGE_SHIFT | WIRE_RAM_MARK);
}

int ram_records_begin_anew(struct ram_records *rec, struct out *out)
{
	rec->out = out;
	rec->last_block = NULL;
	return rec->delta ? ram_delta_forget(rec->delta) : 0;
}

bool ram_records_need_copies(const struct ram_records *rec)
{
	return rec->delta && ram_delta_is_on(rec->delta);
}
