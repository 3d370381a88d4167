/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a worker is missing. What is to be done follows from who may run the guest, which the
 * library knows:
 *
 *   revocable (source before RELEASE, target before LOADED): the library takes it back by itself
 *       when the migration channel ends: wait for that, then the migration failed. A target that may have
 *       loaded the guest waits for COMMIT: a successor in mode `abort` tells it
 *   released, loaded, or the peer may have to be told: a successor in mode `settle` finds out
 *       with the peer
 *   retired: it was all over
 *
 * In post-copy (journaled: daemon/journal.h) the successor goes on with it, once the guest was given away.
 */
#ifndef MIGD_DAEMON_SETTLE_H
#define MIGD_DAEMON_SETTLE_H

struct migration;

/* M's worker is gone; HOW says how it ended. */
void settle_worker_exited(struct migration *m, const char *how);

/* M's worker said its last word and was told FINISHED. */
void settle_dismiss_worker(struct migration *m);

/* M's worker was found by this daemon: it has to say ADOPT soon. */
void settle_expect_adopt(struct migration *m);

/* Something changed: see whether M, if its worker is missing, is one step further. */
void settle_check(struct migration *m);

#endif
