/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread of a worker: the link to the daemon. */
#ifndef MIGD_ENGINE_CONTROL_H
#define MIGD_ENGINE_CONTROL_H

#include "engine/migration.h"

/*
 * Wait for START on LINK and set M up from it. 0, or -errno with ERR. Descriptors are M's.
 */
int control_start(struct conn *link, struct migration *m, struct merr *err);

/*
 * Serve the link (taken over) and its successors until the migration is done and a daemon said FINISHED, or none came for
 * ORPHAN_NS after it was done.
 */
void control_run(struct migration *m, struct conn *link);

#endif
