/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability release-ram: what post-copy has sent is freed here, as soon as the destination has it. Every PAGE_RELEASE_BYTES the
 * stream asks (PING); the answer (PONG) says that all before the question is in place. So whatever is on its way when a
 * connection breaks, or this worker dies, is still here, and a page that is a hole here is one there, or has arrived.
 *
 * Freeing takes a quarter of a microsecond a page, and somebody may wait for another: so it is done in pieces, one a write.
 *
 * What goes on the channel for urgent pages is not freed: nothing there says what has arrived. Migration thread.
 */
#ifndef MIGD_ENGINE_PAGE_RELEASE_H
#define MIGD_ENGINE_PAGE_RELEASE_H

#include "base/bytes.h"
#include "engine/page-sender.h"
#include "engine/ram.h"

/* Sent between two questions. */
#define PAGE_RELEASE_BYTES (4 * MIB)
/* Runs of pages that wait for an answer; what is sent while there are as many is not freed. */
#define PAGE_RELEASE_RUNS 4096U
/* Freed at a time, huge pages as a whole: twice what a write sends, so that freeing keeps up. */
#define PAGE_RELEASE_PIECE_PAGES (2 * PAGE_SENDER_PAGES)

struct page_run {
	const struct ram_file *block;
	uint64_t page, n;
};

struct page_release {
	struct page_run runs[PAGE_RELEASE_RUNS];	/* as they were sent */
	size_t n;
	size_t n_asked;		/* of them were sent before the question; 0: there is none */
	bool arrived;		/* it was answered */
	size_t n_freed;		/* of those */
	uint32_t number;	/* the question's */
	uint64_t bytes;		/* sent since */
};

/* N pages of B from PAGE on were sent on the main stream. */
void page_release_sent(struct page_release *p, const struct ram_file *b, uint64_t page, uint64_t n);

/* It is time to ask: much was sent, and what the last question was about is freed. */
bool page_release_due(const struct page_release *p);
/* Asked as question NUMBER, behind all that was sent. */
void page_release_asked(struct page_release *p, uint32_t number);
/* Question NUMBER was answered, whoever asked it. */
void page_release_answered(struct page_release *p, uint32_t number);
/* Free a piece of what has arrived, if something has. */
void page_release_piece(struct page_release *p);

#endif
