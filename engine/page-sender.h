/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of a guest that is stopped for good, sent one by one in post-copy: read by pread(), so that a hole stays one and no
 * time goes into finding out where it ends, and gathered for one write. Every page record names its block the first time,
 * whatever was said on this stream before. Migration thread.
 */
#ifndef MIGD_ENGINE_PAGE_SENDER_H
#define MIGD_ENGINE_PAGE_SENDER_H

#include "base/err.h"
#include "engine/out.h"
#include "engine/ram.h"
#include "engine/stats-page.h"

/* What is gathered, and so what another page may have to wait for: 128 KiB. */
#define PAGE_SENDER_PAGES 32U

struct page_sender;

/*
 * OUT and STATS are borrowed; RUNS: the peer understands WIRE_RAM_RUN. NULL: no memory. page_sender_free(): NULL is fine,
 * returns NULL.
 */
struct page_sender *page_sender_new(struct out *out, struct stats_page *stats, bool runs);
struct page_sender *page_sender_free(struct page_sender *p);

/* Pages that still have room before the next write. */
unsigned int page_sender_room(const struct page_sender *p);

/*
 * Send N pages, in order; what has no room is written on the way. 0, or -errno with ERR, as for one that turns out to be damaged;
 * a broken stream has no text.
 */
int page_sender_add(struct page_sender *p, const struct ram_file *b, uint64_t page, uint64_t n, struct merr *err);
/* Write all that was added. 0 or the stream's sticky error. */
int page_sender_flush(struct page_sender *p);

#endif
