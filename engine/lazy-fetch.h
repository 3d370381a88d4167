/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that bring the pages of a mapped-ram file into guest memory while the guest runs: those that somebody waits for, with
 * what is next to them, and meanwhile all others, in the file's order behind the last one that was waited for.
 *
 * A page is on the list until a thread takes it off to read it, so nobody writes a page twice: the guest may have changed it
 * by then. What cannot be read goes on another list, and comes back by lazy_fetch_retry().
 */
#ifndef MIGD_ENGINE_LAZY_FETCH_H
#define MIGD_ENGINE_LAZY_FETCH_H

#include "engine/fault-service.h"
#include "engine/mapped-file.h"
#include "engine/ram.h"
#include "engine/rate.h"
#include "engine/stats-page.h"

struct lazy_fetch;

/* All is borrowed; LIMIT is on what nobody waits for. NULL: no memory. */
struct lazy_fetch *lazy_fetch_new(struct ram *ram, const struct mapped_source_file *file, struct rate *limit,
				  struct stats_page *stats);
/* Ends the threads: nothing is shown any more. May be called twice. */
void lazy_fetch_stop(struct lazy_fetch *f);
/* After who may want pages. NULL is fine; returns NULL. */
struct lazy_fetch *lazy_fetch_free(struct lazy_fetch *f);

/*
 * Before the start: the file has these pages of B, which begin there. BITS is taken over, as from ram_bits_new(). A block that is
 * not told has none.
 */
void lazy_fetch_add(struct lazy_fetch *f, struct ram_file *b, uint64_t pages_offset, uint64_t *bits);

/*
 * Clear the `received` bits of what is to come. AGAIN: a predecessor did; what it has received is not to come. -ENOMEM. Before
 * the start, and before faults are served; may be called twice.
 */
int lazy_fetch_prepare(struct lazy_fetch *f, bool again);

/* From here on pages come, and are shown by FAULTS. -errno with ERR. */
int lazy_fetch_start(struct lazy_fetch *f, struct fault_service *faults, struct merr *err);

/* struct fault_ops' `want`; OPAQUE is the lazy_fetch. Also before the start. */
void lazy_fetch_want(void *opaque, const struct ram_file *b, uint64_t page, uint64_t n);

/* Pages that are still to come. */
uint64_t lazy_fetch_left(struct lazy_fetch *f);
/* Readable when all have come, or the failure came or went. Drained by who looks. */
int lazy_fetch_event_fd(const struct lazy_fetch *f);
/* Why pages cannot be read: the first of them that is not there yet; -errno with ERR, or 0. */
int lazy_fetch_failure(struct lazy_fetch *f, struct merr *err);
/* Try again what could not be read. */
void lazy_fetch_retry(struct lazy_fetch *f);

#endif
