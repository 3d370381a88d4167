/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending RAM: which pages, and in an order that loses no write.
 *
 * Per stretch of at most 256 MiB: the library re-protects the pages that are in `todo` (DIRTY_CLEAR), then they are read,
 * then sent. A write after the re-protection is logged again; one before it is in what is read.
 *
 * Memory that was never touched is skipped (engine/ram-units.h); in what form pages go, engine/ram-pages.h has.
 */
#ifndef MIGD_ENGINE_RAM_SOURCE_H
#define MIGD_ENGINE_RAM_SOURCE_H

#include <stdatomic.h>

#include "engine/guest-link.h"
#include "engine/out.h"
#include "engine/ram.h"
#include "engine/ram-pages.h"
#include "engine/ram-sink.h"
#include "engine/stats-page.h"
#include "engine/unacked.h"

struct ram_source;

/* All borrowed. RUNS: the peer understands WIRE_RAM_RUN. NULL: no memory. */
struct ram_source *ram_source_new(struct ram *ram, struct out *out, struct guest_link *guest,
				  struct stats_page *stats, bool runs);
struct ram_source *ram_source_free(struct ram_source *s);
void ram_source_on_tick(struct ram_source *s, ram_tick_fn fn, void *opaque);

/* Before the first pass. OFF: zero pages are sent in full (memory never touched is skipped all the same). On at first. */
void ram_source_detect_zeros(struct ram_source *s, bool on);
/* Before the list: pages go there, not into the stream. K is taken over. */
void ram_source_use_sink(struct ram_source *s, struct ram_sink *k);
/* Before the first sync: damaged pages can be told to the peer. Otherwise they end the migration. */
void ram_source_tell_poison(struct ram_source *s);
/* Before the first pass: send differences (engine/ram-delta.h). CACHE_BYTES is borrowed and may change. -ENOMEM. */
int ram_source_use_xbzrle(struct ram_source *s, const _Atomic uint64_t *cache_bytes);

/* Before the first pass: pages that are sent are noted in U (borrowed), and the peer is asked for marks: it knows them. */
void ram_source_track(struct ram_source *s, struct unacked *u);
/*
 * The connection was lost, OUT (borrowed) is another one's, and U's pages that did not arrive are in `todo`: the next pass says
 * everything anew. -errno with ERR.
 */
int ram_source_begin_anew(struct ram_source *s, struct out *out, struct merr *err);

/* The body of a START section: MEM_SIZE list. 0 or -errno with ERR; the stream's own errors are its. */
int ram_source_list(struct ram_source *s, struct merr *err);

/*
 * Fetch what became dirty; *ret_pages: how many pages are to be sent now, without those in units never touched. 0 or
 * -errno with ERR. The tick function may call it, in mid-pass.
 */
int ram_source_sync(struct ram_source *s, uint64_t *ret_pages, struct merr *err);

/* As the last sync found it, less what was sent since. */
uint64_t ram_source_todo_pages(const struct ram_source *s);
/* How many pages the syncs found newly dirtied since the start, those of the first apart. */
uint64_t ram_source_dirtied_pages(const struct ram_source *s);

/* For a sink, what it found out about pages that it was given: zero, which the stream is to tell; damaged; unreadable. */
void ram_source_found_zero(struct ram_source *s, struct ram_file *b, uint64_t page, uint64_t n);
int ram_source_found_damaged(struct ram_source *s, struct ram_file *b, uint64_t page, struct merr *err);
int ram_source_found_unreadable(struct ram_source *s, struct ram_file *b, uint64_t page, int error, struct merr *err);

/*
 * In place of looking for pages in memory, a pass calls FN, which sends them by these two: N pages that hold DATA until the call
 * returns, and N that are zero. 0 or -errno with ERR.
 */
typedef int (*ram_feed_fn)(void *opaque, struct merr *err);
void ram_source_use_feed(struct ram_source *s, ram_feed_fn fn, void *opaque);
int ram_source_copies(struct ram_source *s, struct ram_file *b, uint64_t page, uint64_t n, const uint8_t *data,
		      struct merr *err);
int ram_source_zeros(struct ram_source *s, struct ram_file *b, uint64_t page, uint64_t n, struct merr *err);

/*
 * Send every page in `todo`: the body of one section. STOPPED: the guest is, so nothing needs re-protection. The caller
 * flushes before the next one.
 */
int ram_source_pass(struct ram_source *s, bool stopped, struct merr *err);

/* The stream is another one from now on; NULL: none yet. */
void ram_source_use(struct ram_source *s, struct out *out);

/* In mid-pass (the tick function): the pass ends here, what is left stays in `todo`. */
void ram_source_end_pass(struct ram_source *s);

/*
 * The guest is stopped for good and synced: all that is left goes another way (engine/postcopy-source.h). Nothing is skipped
 * that a destination may wait for, `todo` holds whole pages of the memory, and the sink is freed. True: the destination does
 * not know of damaged pages, of which ram_source_tell_damage() writes it a section's body.
 */
bool ram_source_leave(struct ram_source *s);
void ram_source_tell_damage(struct ram_source *s);

/* Before the first pass: the destination may ask for any page that was not sent, so free-page hints are not taken. */
void ram_source_ignore_hints(struct ram_source *s);

#endif
