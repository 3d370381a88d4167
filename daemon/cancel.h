/* SPDX-License-Identifier: Apache-2.0 */
/* Ending a migration that can still be taken back. */
#ifndef MIGD_DAEMON_CANCEL_H
#define MIGD_DAEMON_CANCEL_H

#include "base/err.h"

struct migration;

/*
 * migrate_cancel: the status becomes `cancelling`, soon `cancelled`. M may be NULL or over: 0,
 * nothing happens. -EBUSY with ERR: it is too late.
 */
int cancel_migration(struct migration *m, struct merr *err);

/*
 * yank: the same, but it ends as `failed`. One that waits for a source has no connection that could be shut down, and goes
 * on.
 */
int cancel_as_failed(struct migration *m, struct merr *err);

/* The VMM of an incoming migration is gone: its worker must not go on waiting for a source. */
void cancel_without_vmm(struct migration *m);

#endif
