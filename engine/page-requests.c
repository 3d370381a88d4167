/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that the target waits for. */
#include "engine/page-requests.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "engine/ram-units.h"

/* The name that follows a REQ_PAGES_ID makes its block the one that is meant from here on. */
static int take_block(struct page_requests *q, struct rcur *c, struct merr *err)
{
	char name[ATTACH_STR_MAX + 1];
	uint8_t len = rcur_u8(c);
	const uint8_t *p = len > 0 && len <= ATTACH_STR_MAX ? rcur_bytes(c, len) : NULL;

	if (!p || memchr(p, 0, len))
		return merr_set(err, -EBADMSG, "a request for pages without a block's name");
	memcpy(name, p, len);
	name[len] = '\0';
	q->last_block = ram_find(q->ram, name);
	return q->last_block ? 0 : merr_set(err, -EBADMSG, "a request for pages of a RAM block that does not exist");
}

static int check_range(const struct ram_file *b, uint64_t start, uint64_t len, struct merr *err)
{
	if (b->ignored)
		return merr_set(err, -EBADMSG, "a request for pages of RAM block '%s', which is not sent", b->name);
	if (len == 0 || start % b->page_size || len % b->page_size || !range_ok(start, len, b->len))
		return merr_set(err, -EBADMSG, "a request for %" PRIu64 " bytes at 0x%" PRIx64 " of RAM block '%s', which has "
				"0x%" PRIx64 " bytes in pages of %" PRIu64, len, start, b->name, b->len, b->page_size);
	return 0;
}

static void add(struct page_requests *q, const struct page_request *req)
{
	struct ram_file *b = req->block;
	uint64_t end = req->page + req->n;

	if (q->holes)
		ram_units_recall(b, req->page, req->n);
	if (bitmap_next_set(b->todo, end, req->page) < end)
		q->ring[(q->first + q->n++) % PAGE_REQUESTS_MAX] = *req;
}

int page_requests_take(struct page_requests *q, const struct rp_msg *m, struct merr *err)
{
	struct rcur c = rcur_of(m->body, m->len);
	uint64_t start = rcur_be64(&c), len = rcur_be32(&c);
	int r = 0;

	if (m->type == WIRE_RP_REQ_PAGES_ID)
		r = take_block(q, &c, err);
	if (r < 0)
		return r;
	if (c.bad || c.left)
		return merr_set(err, -EBADMSG, "a request for pages of %u bytes", m->len);
	if (!q->last_block)
		return merr_set(err, -EBADMSG, "a request for pages before any block was named");
	r = check_range(q->last_block, start, len, err);
	if (r < 0)
		return r;
	add(q, &(struct page_request){
		.block = q->last_block, .page = start / WIRE_PAGE_SIZE, .n = len / WIRE_PAGE_SIZE
	});
	return 0;
}

bool page_requests_next(struct page_requests *q, struct page_request *ret)
{
	if (q->n == 0)
		return false;
	*ret = q->ring[q->first];
	q->first = (q->first + 1) % PAGE_REQUESTS_MAX;
	q->n--;
	return true;
}
