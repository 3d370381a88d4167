/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of a guest that is stopped for good. */
#include "engine/page-sender.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/ram-records.h"

struct page_sender {
	struct out *out;
	struct ram_records rec;
	unsigned int gathered;	/* pages of the buffer that OUT refers to */
	uint8_t *buffer;
};

struct page_sender *page_sender_new(struct out *out, struct stats_page *stats, bool runs)
{
	struct page_sender *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	*p = (struct page_sender){
		.out = out,
		.rec = { .out = out, .stats = stats, .kernels = kernels_best(), .runs = runs },
		.buffer = aligned_alloc(WIRE_PAGE_SIZE, (size_t)PAGE_SENDER_PAGES * WIRE_PAGE_SIZE),
	};
	return p->buffer ? p : page_sender_free(p);
}

struct page_sender *page_sender_free(struct page_sender *p)
{
	if (p)
		free(p->buffer);
	free(p);
	return NULL;
}

unsigned int page_sender_room(const struct page_sender *p)
{
	return PAGE_SENDER_PAGES - p->gathered;
}

int page_sender_flush(struct page_sender *p)
{
	p->gathered = 0;
	return out_flush(p->out);
}

/* As many of N pages as have room; *ret_n: how many those are. */
static int add_some(struct page_sender *p, const struct ram_file *b, uint64_t page, uint64_t n, uint64_t *ret_n,
		    struct merr *err)
{
	uint8_t *data = p->buffer + (size_t)p->gathered * WIRE_PAGE_SIZE;
	int r;

	*ret_n = min_u64(n, page_sender_room(p));
	r = ram_read(b, page, *ret_n, data);
	if (r < 0)
		return merr_set_errno(err, r, "reading guest memory '%s' at page %" PRIu64, b->name, page);
	ram_records_pages(&p->rec, b, page, *ret_n, data);
	p->gathered += (unsigned int)*ret_n;
	return 0;
}

int page_sender_add(struct page_sender *p, const struct ram_file *b, uint64_t page, uint64_t n, struct merr *err)
{
	uint64_t k;
	int r = 0;

	for (; r == 0 && n > 0; page += k, n -= k) {
		k = 0;
		if (page_sender_room(p) == 0)
			r = page_sender_flush(p);
		if (r == 0)
			r = add_some(p, b, page, n, &k, err);
	}
	return r;
}
