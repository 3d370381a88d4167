/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Post-copy whose connection broke: the guest runs on the target, and waits for what it touches and has not got. Both sides keep
 * what they have, and meet again, as often as it takes (WIRE.md 7.5).
 *
 *     S>D  between migds: opening, ASK    D>S  INCOMPLETE (or ACTIVE: all is there; NOT_ACTIVE: it never ran)
 *     S>D  RECV_BITMAP, each block        D>S  RECV_BITMAP: what is there; all else is missing
 *     S>D  the channel for urgent pages, if there was one
 *     S>D  POSTCOPY_RESUME                D>S  RESUME_ACK, then whatever somebody waits for is requested again
 *
 * The source reconnects by itself, unless an operator or the target said to pause: then it waits for an operator's socket. The
 * target listens where it did, and where an operator says. What a QEMU listens on after a break only an operator knows.
 *
 * Status: source postcopy-paused > -recover-setup (there is a connection) > -recover (TLS's handshake is done) > -active;
 * target postcopy-paused > -recover > -active. What goes wrong leads back to postcopy-paused.
 *
 * Migration thread.
 */
#ifndef MIGD_ENGINE_POSTCOPY_RECOVER_H
#define MIGD_ENGINE_POSTCOPY_RECOVER_H

#include <stdbool.h>

#include "engine/source.h"

struct target;

/* A host of which nothing is heard for so long is taken for lost, on either side: its connection, not the guest. */
#define POSTCOPY_SILENCE_MS 15000

/*
 * Source: released, and the connection is of no use, for the reason in S->err or in its stream. RUNS: the target is known to
 * run the guest. Until all is over, however that comes about.
 */
enum source_end postcopy_recover(struct source *s, bool runs);

/*
 * Target, running: serve the guest until it has all of its pages, over the connection there is and any that follows. -ESRCH:
 * its VMM is gone.
 */
int postcopy_target_finish(struct target *t);

#endif
