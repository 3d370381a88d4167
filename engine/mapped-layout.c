/* SPDX-License-Identifier: Apache-2.0 */
/* Where a mapped-ram file has what of a RAM block. */
#include "engine/mapped-layout.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "engine/wire.h"

#define HEADER_VERSION 1U

/* Where pages begin when migd or QEMU writes; a reader takes any multiple of the page size. */
#define PAGES_ALIGN (1 * MIB)

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "the bitmaps of mapped-ram files are a little-endian host's");

static uint64_t bitmap_len(uint64_t n_pages)
{
	return bitmap_words(n_pages) * sizeof(uint64_t);
}

/* A file's offsets are signed. */
static bool fits_file(uint64_t start, uint64_t len, uint64_t *ret_end)
{
	return add_ok(start, len, ret_end) && *ret_end <= INT64_MAX;
}

int mapped_layout(uint64_t at, uint64_t n_pages, struct mapped_layout *ret)
{
	struct mapped_layout l = { .bitmap_len = bitmap_len(n_pages) };
	uint64_t end;

	if (!fits_file(at, MAPPED_HEADER_LEN, &l.bitmap_offset) ||
	    !fits_file(l.bitmap_offset, l.bitmap_len, &end) || !fits_file(end, PAGES_ALIGN, &end))
		return -EFBIG;
	l.pages_offset = (end - 1) / PAGES_ALIGN * PAGES_ALIGN;
	if (!fits_file(l.pages_offset, n_pages * WIRE_PAGE_SIZE, &l.end))
		return -EFBIG;
	*ret = l;
	return 0;
}

void mapped_header_put(const struct mapped_layout *l, uint8_t to[MAPPED_HEADER_LEN])
{
	struct wcur w = wcur_of(to, MAPPED_HEADER_LEN);

	wcur_be32(&w, HEADER_VERSION);
	wcur_be64(&w, WIRE_PAGE_SIZE);
	wcur_be64(&w, l->bitmap_offset);
	wcur_be64(&w, l->pages_offset);
}

static int check_head(uint32_t version, uint64_t page_size, struct merr *err)
{
	if (version != HEADER_VERSION)
		return merr_set(err, -EBADMSG, "field 'mapped-ram version' is %" PRIu32 ": this side knows %u",
				version, HEADER_VERSION);
	if (page_size != WIRE_PAGE_SIZE)
		return merr_set(err, -EBADMSG, "field 'mapped-ram page_size' is %" PRIu64 ", not %u", page_size,
				WIRE_PAGE_SIZE);
	return 0;
}

/* What comes first in the file comes first here: so no two parts overlap, and the stream never goes back. */
static int check_offsets(const struct mapped_layout *l, uint64_t header_end, uint64_t file_len, struct merr *err)
{
	uint64_t end;

	if (l->bitmap_offset < header_end)
		return merr_set(err, -EBADMSG, "field 'mapped-ram bitmap_offset' is 0x%" PRIx64 ", before the end of its "
				"header at 0x%" PRIx64, l->bitmap_offset, header_end);
	if (!fits_file(l->bitmap_offset, l->bitmap_len, &end) || end > file_len)
		return merr_set(err, -EBADMSG, "field 'mapped-ram bitmap_offset' is 0x%" PRIx64 ": a bitmap of %" PRIu64
				" bytes there ends beyond the file's 0x%" PRIx64 " bytes: the file was cut off",
				l->bitmap_offset, l->bitmap_len, file_len);
	if (l->pages_offset % WIRE_PAGE_SIZE)
		return merr_set(err, -EBADMSG, "field 'mapped-ram pages_offset' is 0x%" PRIx64 ", no multiple of %u",
				l->pages_offset, WIRE_PAGE_SIZE);
	if (l->pages_offset < end)
		return merr_set(err, -EBADMSG, "field 'mapped-ram pages_offset' is 0x%" PRIx64 ", before the end of the "
				"bitmap at 0x%" PRIx64, l->pages_offset, end);
	return 0;
}

int mapped_header_parse(const uint8_t from[MAPPED_HEADER_LEN], uint64_t at, uint64_t n_pages, uint64_t file_len,
			struct mapped_layout *ret, struct merr *err)
{
	struct rcur c = rcur_of(from, MAPPED_HEADER_LEN);
	struct mapped_layout l = { .bitmap_len = bitmap_len(n_pages) };
	uint32_t version = rcur_be32(&c);
	int r;

	r = check_head(version, rcur_be64(&c), err);
	if (r < 0)
		return r;
	l.bitmap_offset = rcur_be64(&c);
	l.pages_offset = rcur_be64(&c);
	r = check_offsets(&l, at + MAPPED_HEADER_LEN, file_len, err);
	if (r < 0)
		return r;
	if (!fits_file(l.pages_offset, n_pages * WIRE_PAGE_SIZE, &l.end) || l.end > file_len)
		return merr_set(err, -EBADMSG, "field 'mapped-ram pages_offset' is 0x%" PRIx64 ": %" PRIu64 " pages there "
				"end beyond the file's 0x%" PRIx64 " bytes: the file was cut off", l.pages_offset,
				n_pages, file_len);
	*ret = l;
	return 0;
}

int mapped_bitmap_check(const uint64_t *bits, uint64_t n_pages, struct merr *err)
{
	uint64_t end = bitmap_words(n_pages) * BITMAP_WORD_BITS, page = bitmap_next_set(bits, end, n_pages);

	if (page < end)
		return merr_set(err, -EBADMSG, "field 'mapped-ram bitmap' has page %" PRIu64 " of %" PRIu64, page, n_pages);
	return 0;
}
