/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Post-copy at the target: the guest runs here while pages of it still come (WIRE.md 7.3).
 *
 *     NONE > ADVISED (all that comes is valid) > DISCARDING (but these) > LISTENING (faults are served) > RUNNING > COMPLETE
 *
 *     migration thread   the main stream: pages in the source's order, and the handover
 *     mig/dst/fault      faults, and requests for pages (engine/fault-service.h)
 *     mig/dst/urgent     pages that were asked for, if they have a channel of their own (engine/urgent-channel.h)
 *
 * A connection that breaks once the guest runs costs nothing but time: who waits for a page waits on, what is here is shown,
 * and postcopy_target_serve() can be called again with the next connection.
 *
 * Migration thread; errors are the stream's or the target's, as elsewhere.
 */
#ifndef MIGD_ENGINE_POSTCOPY_TARGET_H
#define MIGD_ENGINE_POSTCOPY_TARGET_H

#include <stdbool.h>
#include <stdint.h>

struct target;
struct postcopy_target;

/* The commands, each with LEN bytes that are still to be read. Out of turn they are refused. */
int postcopy_target_advise(struct target *t, uint16_t len);
int postcopy_target_discard(struct target *t, uint16_t len);
int postcopy_target_listen(struct target *t, uint16_t len);

/* ADVISE came in the opening, with these; as postcopy_target_advise(). */
int postcopy_target_advised(struct target *t, uint64_t page_sizes, uint64_t page_size);

/* The source is going to open a channel for urgent pages: engine/urgent-channel.h. */
bool postcopy_target_awaits_urgent(const struct target *t);

/* LISTEN came: the stream goes on behind the package. */
bool postcopy_target_listens(const struct target *t);
/* The guest runs, and pages are missing, or were until the end of the stream. */
bool postcopy_target_runs(const struct target *t);

/* The stream ended without LISTEN: it was announced, and not needed after all. */
int postcopy_target_unused(struct target *t);

/* The guest was just activated. */
void postcopy_target_started(struct target *t);

/*
 * Take what comes on the target's connection until all pages are here: 0, and the source was told. Else the connection is of
 * no use any more, for the reason in the target's error, and nothing is lost; -ESRCH: but the VMM is gone.
 */
int postcopy_target_serve(struct target *t);

/* It is of no use: tell the daemon why, and the source, if it can hear it; status postcopy-paused. */
void postcopy_target_pause(struct target *t);
/* The source wants to go on over a new one, which is the target's: get ready, the urgent channel included. */
int postcopy_target_reopen(struct target *t);
void postcopy_target_lost(struct target *t);

/*
 * In place of all of the above, for a worker whose predecessor died when the guest ran: RAM and handlers are ready. 1: it is now as
 * if the connection had just been lost; -EBADFD: the guest waits for no page any more; -errno.
 */
int postcopy_target_succeed(struct target *t);

/* The target's connection is about to be freed. */
void postcopy_target_disconnected(struct target *t);

/*
 * The guest will not run here: whoever waits for a page of it, such as a VMM that loads its state, gets whatever there is, and is
 * not stuck.
 */
void postcopy_target_let_go(struct target *t);
void postcopy_target_done(struct target *t);

#endif
