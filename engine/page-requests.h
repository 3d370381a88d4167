/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that the target waits for (REQ_PAGES, REQ_PAGES_ID), in the order it asked. What comes is a peer's word: checked here.
 * Bounded: when there is no room, the next ones stay in the connection. Migration thread.
 */
#ifndef MIGD_ENGINE_PAGE_REQUESTS_H
#define MIGD_ENGINE_PAGE_REQUESTS_H

#include "base/err.h"
#include "engine/ram.h"
#include "engine/return-path.h"

#define PAGE_REQUESTS_MAX 1024U

struct page_request {
	struct ram_file *block;
	uint64_t page, n;	/* whole pages of the block's memory, at least one, all within it */
};

/* Zero-initialise, but for the first two. */
struct page_requests {
	struct ram *ram;		/* borrowed */
	bool holes;			/* the peer (a QEMU) waits for what is not sent, since it was never touched, too */
	struct ram_file *last_block;	/* that was named */
	unsigned int first, n;		/* of the ring */
	struct page_request ring[PAGE_REQUESTS_MAX];
};

static inline bool page_requests_full(const struct page_requests *q)
{
	return q->n == PAGE_REQUESTS_MAX;
}

/*
 * Add what M, of one of these two types, asks for; there is room. Where nothing is in `todo`, all was sent: nothing is added.
 * -EBADMSG with ERR.
 */
int page_requests_take(struct page_requests *q, const struct rp_msg *m, struct merr *err);

/* False: nobody waits. */
bool page_requests_next(struct page_requests *q, struct page_request *ret);

#endif
