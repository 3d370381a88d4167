/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The destination's channels of multifd: one thread each puts pages into guest memory as they come.
 *
 *     channel   hello  DATA DATA SYNC | DATA DATA SYNC | ...         one thread each
 *     main      opening ... START FLUSH | PART FLUSH | ... EOF       migration thread
 *
 * At a sync point (a FLUSH record, or for an older source the end of each section) the migration thread waits until every
 * channel has got as far as its SYNC, and then lets all go on: that alone orders two versions of a page (WIRE.md 3.4, 5.6).
 * A channel that fails ends the migration: whatever the migration thread waits for, it gets -ECANCELED, and
 * multifd_target_why() tells.
 */
#ifndef MIGD_ENGINE_MULTIFD_TARGET_H
#define MIGD_ENGINE_MULTIFD_TARGET_H

#include "engine/multifd-packet.h"
#include "engine/ram.h"
#include "engine/stats-page.h"
#include "schema/types.h"
#include "transport/chan.h"

struct multifd_target;

/*
 * N channels, to be given by multifd_target_add(). RAM and STATS are borrowed; CANCEL_FD ends multifd_target_sync(). NULL: no
 * memory.
 */
struct multifd_target *multifd_target_new(struct ram *ram, struct stats_page *stats, unsigned int n,
					  enum multi_fd_compression codec, int cancel_fd);
/* Ends what still runs. NULL is fine; returns NULL. */
struct multifd_target *multifd_target_free(struct multifd_target *t);

/* Take over CHAN, whose hello was read, as channel ID. -EEXIST: it is there already; -EINVAL: ID is too high; CHAN is not taken. */
int multifd_target_add(struct multifd_target *t, unsigned int id, struct chan *chan);
/* How many were added. */
unsigned int multifd_target_count(const struct multifd_target *t);
bool multifd_target_has(const struct multifd_target *t, unsigned int id);

/* All are there: receive. 0 or -errno with ERR. RAM's bitmaps exist, and its blocks are clear. */
int multifd_target_start(struct multifd_target *t, struct merr *err);

/* Readable when the migration is cancelled or a channel failed: for the main channel's chan_set_cancel(). */
int multifd_target_cancel_fd(const struct multifd_target *t);

/* Wait until all that was sent before is in memory. 0, or -ECANCELED, -ETIMEDOUT, ... with a reason to be asked for. */
int multifd_target_sync(struct multifd_target *t);

/* The stream ended: nothing may have come that no sync point counted. As multifd_target_sync(). */
int multifd_target_end(struct multifd_target *t);

/* No thread writes guest memory after this; the channels stay open. */
void multifd_target_stop(struct multifd_target *t);

/* Why a channel failed, or a sync: true, and the text in ERR instead of what it held. */
bool multifd_target_why(struct multifd_target *t, struct merr *err);

/* For in_on_silence(): pages have come since the last time. */
bool multifd_target_progressed(void *t);

#endif
