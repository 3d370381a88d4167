/* SPDX-License-Identifier: Apache-2.0 */
/* Post-copy: putting pages under a guest that runs. */
#include "engine/ram-place.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/ram-fill.h"
#include "engine/received.h"

int placement_init(struct placement *p, struct ram *ram, uint64_t missing, struct fault_service *faults,
		   struct stats_page *stats)
{
	*p = (struct placement){ .ram = ram, .faults = faults, .stats = stats, .complete_fd = wake_new() };
	if (p->complete_fd < 0)
		return -EMFILE;
	for (size_t i = 0; i < ram->n_blocks; i++) {
		p->claimed[i] = ram_bits_new(ram->blocks[i].n_pages);
		if (!p->claimed[i]) {
			placement_done(p);
			return -ENOMEM;
		}
	}
	atomic_store(&p->missing, missing);
	stats_set(stats, missing_pages, missing);
	return 0;
}

void placement_done(struct placement *p)
{
	for (size_t i = 0; p->ram && i < p->ram->n_blocks; i++)
		p->claimed[i] = ram_bits_free(p->claimed[i], p->ram->blocks[i].n_pages);
	p->complete_fd = close_fd(p->complete_fd);
}

/* So much is brought before it is shown. */
#define CHUNK_PAGES 512U

void placer_init(struct placer *pl, struct placement *p, struct in *in)
{
	*pl = (struct placer){ .placement = p, .in = in };
}

static uint64_t *claims(struct placer *pl, const struct ram_file *b)
{
	return pl->placement->claimed[b - pl->placement->ram->blocks];
}

void placer_reset(struct placer *pl)
{
	if (pl->block && !pl->dropped)
		(void)bitmap_atomic_clear_range(claims(pl, pl->block),
						(pl->end - pl->block->page_size) / WIRE_PAGE_SIZE,
						pl->block->page_size / WIRE_PAGE_SIZE);
	pl->block = NULL;
}

/* N pages, of the block's own size, that are to be placed by this channel and no other: true. */
static bool claim(struct placer *pl, struct ram_file *b, uint64_t page, uint64_t n)
{
	if (received_has(b, page) || bitmap_atomic_claim_range(claims(pl, b), page, n) < n)
		return false;
	/* Another may have finished with it since the first look. */
	return !received_has(b, page);
}

/* They are in the file. */
static int arrived(struct placer *pl, struct ram_file *b, uint64_t page, uint64_t n, bool holes)
{
	struct placement *p = pl->placement;
	uint64_t fresh, left;
	int r;

	FAULT_POINT("postcopy.page-placed");
	fresh = received_add(b, page, n);
	left = atomic_fetch_sub(&p->missing, fresh) - fresh;
	stats_set(p->stats, missing_pages, left);
	FAULT_POINT("postcopy.page-received");
	r = holes ? fault_service_show_holes(p->faults, b, page, n) : fault_service_show(p->faults, b, page, n);
	if (left == 0)
		wake_raise(p->complete_fd);
	return r < 0 ? in_fail(pl->in, r, "block '%s': showing the guest its page at 0x%" PRIx64 ": %s", b->name,
			       page * WIRE_PAGE_SIZE, strerror(-r)) : 0;
}

/* The next LEN bytes at OFFSET, by whatever a record says; STREAM: bytes follow. */
static int fill(struct placer *pl, struct ram_file *b, uint64_t offset, uint64_t len, bool stream)
{
	return stream ? ram_fill_stream(pl->in, b, offset, len) : ram_fill_zero(pl->in, b, offset, len);
}

static int drop(struct placer *pl, uint64_t len, bool stream)
{
	return stream ? in_skip(pl->in, len) : 0;
}

/* How many pages from PAGE on are brought before they are shown: one that is waited for does not wait for those that come with it. */
static uint64_t chunk(struct placer *pl, const struct ram_file *b, uint64_t page)
{
	return fault_service_is_requested(pl->placement->faults, b, page) ? 1 : CHUNK_PAGES;
}

/* Pages of 4 KiB: as long a run as is new, or as is not. */
static int place_small(struct placer *pl, struct ram_file *b, uint64_t offset, uint64_t len, bool stream)
{
	uint64_t page = offset / WIRE_PAGE_SIZE, end = page + len / WIRE_PAGE_SIZE, most, n;
	int r = 0;

	for (; r == 0 && page < end; page += n) {
		most = chunk(pl, b, page);
		for (n = 0; n < most && page + n < end && claim(pl, b, page + n, 1); n++)
			;
		if (n == 0) {
			n = 1;
			r = drop(pl, WIRE_PAGE_SIZE, stream);
			continue;
		}
		r = fill(pl, b, page * WIRE_PAGE_SIZE, n * WIRE_PAGE_SIZE, stream);
		if (r == 0)
			r = arrived(pl, b, page, n, !stream);
		else
			(void)bitmap_atomic_clear_range(claims(pl, b), page, n);
	}
	return r;
}

/* OFFSET must be where a huge page goes on, or begins. */
static int enter_huge(struct placer *pl, struct ram_file *b, uint64_t offset)
{
	if (pl->block && (pl->block != b || pl->next != offset))
		return in_fail(pl->in, -EBADMSG, "section 'ram': field 'address': 0x%" PRIx64 " of block '%s' in the midst of "
			       "the huge page before 0x%" PRIx64 " of block '%s'", offset, b->name, pl->end,
			       pl->block->name);
	if (pl->block)
		return 0;
	if (offset % b->page_size)
		return in_fail(pl->in, -EBADMSG, "section 'ram': field 'address': 0x%" PRIx64 " of block '%s' does not begin a "
			       "page of its %" PRIu64 " bytes", offset, b->name, b->page_size);
	pl->block = b;
	pl->next = offset;
	pl->end = offset + b->page_size;
	pl->dropped = !claim(pl, b, offset / WIRE_PAGE_SIZE, b->page_size / WIRE_PAGE_SIZE);
	return 0;
}

/* A huge page is all there. Its file has it, unless it is all zeros. */
static int leave_huge(struct placer *pl)
{
	struct ram_file *b = pl->block;
	uint64_t page = (pl->end - b->page_size) / WIRE_PAGE_SIZE;

	pl->block = NULL;
	return pl->dropped ? 0 : arrived(pl, b, page, b->page_size / WIRE_PAGE_SIZE, false);
}

static int place_huge(struct placer *pl, struct ram_file *b, uint64_t offset, uint64_t len, bool stream)
{
	uint64_t n;
	int r = 0;

	for (; r == 0 && len > 0; offset += n, len -= n) {
		r = enter_huge(pl, b, offset);
		if (r < 0)
			break;
		n = min_u64(len, pl->end - offset);
		r = pl->dropped ? drop(pl, n, stream) : fill(pl, b, offset, n, stream);
		pl->next += n;
		if (r == 0 && pl->next == pl->end)
			r = leave_huge(pl);
	}
	return r;
}

static int place(struct placer *pl, struct ram_file *b, uint64_t offset, uint64_t len, bool stream)
{
	if (ram_is_huge(b))
		return place_huge(pl, b, offset, len, stream);
	if (pl->block)
		return in_fail(pl->in, -EBADMSG, "section 'ram': field 'block': '%s' in the midst of a huge page of block '%s'",
			       b->name, pl->block->name);
	return place_small(pl, b, offset, len, stream);
}

int placer_stream(struct placer *pl, struct ram_file *b, uint64_t offset, uint64_t len)
{
	return place(pl, b, offset, len, true);
}

int placer_zero(struct placer *pl, struct ram_file *b, uint64_t offset, uint64_t len)
{
	return place(pl, b, offset, len, false);
}
