/* SPDX-License-Identifier: Apache-2.0 */
/* A migration's journal in the state directory (daemon/state-dir.h): what the next daemon has to know of it. */
#ifndef MIGD_DAEMON_JOURNAL_H
#define MIGD_DAEMON_JOURNAL_H

#include "base/err.h"

struct migration;

/*
 * Write M's as M is now, in place of the one there is; what goes with it goes to the service manager (daemon/fdstore.h). It is
 * removed with the rest of M (migration_release()).
 */
int journal_write(struct migration *m, struct merr *err);
void journal_forget(struct migration *m);

#endif
