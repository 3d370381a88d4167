/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability background-snapshot: an image of the guest as it is at one instant. The guest stops for its state outside memory to
 * be saved and its memory to be write-protected, then goes on; its memory is written out behind it
 * (engine/snapshot-memory.h).
 *
 *     START > pause > save state > protect > resume > all memory, each page once > END > state, EOF > durable
 *
 * Nothing is handed over: the decision page goes PRECOPY, PAUSED, and back to RUNNING by ABORT, and there is no dirty
 * tracking. The stream is like any other that is saved: whoever loads it needs nothing special.
 */
#ifndef MIGD_ENGINE_SNAPSHOT_H
#define MIGD_ENGINE_SNAPSHOT_H

#include "engine/switchover.h"

/* Source, with the capability. */
bool snapshot_is_on(const struct migration *m);

/* Before the guest is touched: -errno with the source's error if there is something that cannot be part of an image. */
int snapshot_check(struct source *s);

/* From START on: SOURCE_STAYS, or SOURCE_REVOKED. */
enum source_end snapshot_take(struct source *s);

#endif
