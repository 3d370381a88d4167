/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/ram-pages.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "engine/wire.h"

/* Pages of short runs are gathered here before they are sent; fits a core's second-level cache. */
#define BUFFER_PAGES 64U

/* Shorter runs are not worth a mapping. */
#define WINDOW_MIN_PAGES 64U

int ram_pages_init(struct ram_pages *p)
{
	p->buffer = aligned_alloc(WIRE_PAGE_SIZE, (size_t)BUFFER_PAGES * WIRE_PAGE_SIZE);
	return p->buffer ? 0 : -ENOMEM;
}

void ram_pages_done(struct ram_pages *p)
{
	free(p->buffer);
	p->buffer = NULL;
	p->rec.delta = ram_delta_free(p->rec.delta);
}

int ram_pages_flush(struct ram_pages *p)
{
	p->buffered = 0;
	if (out_flush(p->rec.out) < 0)
		return out_error(p->rec.out);
	if (p->rec.delta)
		ram_delta_adapt(p->rec.delta);
	return p->tick ? p->tick(p->tick_opaque) : 0;
}

/*
 * Send N pages (at most RAM_WINDOW_PAGES) by reference. 1: sent; 0: they cannot be mapped and
 * populated, nothing was sent; or -errno.
 */
static int send_window(struct ram_pages *p, const struct ram_file *b, uint64_t page, uint64_t n)
{
	size_t len = n * WIRE_PAGE_SIZE;
	uint8_t *map;
	int r = 0;

	map = mmap(NULL, len, PROT_READ, MAP_SHARED, b->fd,
		   (off_t)(b->fd_offset + page * WIRE_PAGE_SIZE));
	if (map == MAP_FAILED)
		return 0;
	if (madvise(map, len, MADV_POPULATE_READ) == 0) {
		ram_records_pages(&p->rec, b, page, n, map);
		r = ram_pages_flush(p);
		if (r == 0)
			r = 1;
	}
	(void)munmap(map, len);
	return r;
}

int ram_pages_unreadable(const struct ram_pages *p, const struct ram_file *b, uint64_t page, int r,
			 struct merr *err)
{
	if (ram_check_sizes(p->ram, err) < 0)
		return -EBUSY;
	return merr_set_errno(err, r, "reading guest memory '%s' at page %llu", b->name,
			      (unsigned long long)page);
}

/* Send N pages (at most BUFFER_PAGES) by way of the buffer; *ret_n: as many as had room. */
static int send_copied(struct ram_pages *p, struct ram_file *b, uint64_t page, uint64_t n,
		       uint64_t *ret_n, struct merr *err)
{
	uint8_t *data;
	int r;

	if (p->buffered == BUFFER_PAGES) {
		r = ram_pages_flush(p);
		if (r < 0)
			return r;
	}
	*ret_n = min_u64(n, BUFFER_PAGES - p->buffered);
	data = p->buffer + (size_t)p->buffered * WIRE_PAGE_SIZE;
	r = ram_read(b, page, *ret_n, data);
	if (ram_is_damage(r) && *ret_n > 1) {
		*ret_n = 1;
		r = ram_read(b, page, 1, data);
	}
	if (ram_is_damage(r))
		return ram_poison_found(&p->poison, b, page, err);
	if (r < 0)
		return ram_pages_unreadable(p, b, page, r, err);
	p->buffered += (uint32_t)*ret_n;
	ram_records_copies(&p->rec, b, page, *ret_n, data);
	return 0;
}

/* Whether pages may be sent as they are, be they written meanwhile. */
static bool may_refer(const struct ram_pages *p, const struct ram_file *b)
{
	return !ram_is_huge(b) && !ram_records_need_copies(&p->rec);
}

int ram_pages_send(struct ram_pages *p, struct ram_file *b, uint64_t page, uint64_t n, bool dense,
		   struct merr *err)
{
	uint64_t k;
	int r;

	for (; n > 0; page += k, n -= k) {
		/* A limited bandwidth is kept by smaller writes. */
		k = max_u64(out_batch_bytes(p->rec.out) / WIRE_PAGE_SIZE, WINDOW_MIN_PAGES);
		k = min_u64(n, min_u64(k, RAM_WINDOW_PAGES));
		r = 0;
		if (dense && k >= WINDOW_MIN_PAGES && may_refer(p, b))
			r = send_window(p, b, page, k);
		if (r == 0)
			r = send_copied(p, b, page, n, &k, err);
		if (r < 0)
			return r;
	}
	return 0;
}
