/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Post-copy's source: it answers the target's requests for pages, and sends all others behind them.
 *
 * Every page in `todo` is sent once; what is requested and not in `todo` is under way. One thread does all, so nothing that
 * it writes is long: a request is noticed behind 128 KiB at the latest (16 KiB if somebody asked a moment ago), while a write
 * waits for room, and while the
 * background waits for its bandwidth. It is answered next on the main stream, or at once on a channel of its own (capability
 * postcopy-preempt), on which nothing else travels. The background goes on behind the page that was asked for last.
 *
 * A guest that walks through its memory asks for one page after the other: whoever asks for the page that is missing next
 * behind what he got gets more with it, twice as much each time, up to PAGE_SENDER_PAGES. Several may walk.
 *
 * A huge page travels as a whole, in one piece and on one of the two (WIRE.md 7.3).
 */
#ifndef MIGD_ENGINE_PAGE_SERVER_H
#define MIGD_ENGINE_PAGE_SERVER_H

#include "engine/return-path.h"
#include "engine/source.h"

struct page_server;

/*
 * For the connection that S has now: with the channel for urgent pages, if that is wanted. NULL with S->err; the caller's, and
 * to be freed with the connection.
 */
struct page_server *page_server_new(struct source *s);
struct page_server *page_server_free(struct page_server *p);

/* The guest is released: nothing is cancelled any more, but paused by M's pause_fd. */
void page_server_released(struct page_server *p);

/* Question NUMBER (source_ask()) was answered. */
void page_server_answered(struct page_server *p, uint32_t number);

/* Whether there is room for more requests. */
bool page_server_has_room(const struct page_server *p);

/* A REQ_PAGES or REQ_PAGES_ID, for which there is room. Errors are S->in's. */
int page_server_take(struct page_server *p, const struct rp_msg *m);

/*
 * Answer what was asked for so far, between sections. page_server_answer_at_once(): also in the midst of one, if there is a
 * channel for that. 0 or -errno; a broken stream has no text.
 */
int page_server_answer(struct page_server *p);
int page_server_answer_at_once(struct page_server *p);

/* Answer requests and send the rest, until no page is missing. As above. */
int page_server_run(struct page_server *p);

#endif
