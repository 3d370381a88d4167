/* SPDX-License-Identifier: Apache-2.0 */
/* `migrate`: the source's side of a migration's beginning, and what an operator can do while it runs. */
#ifndef MIGD_DAEMON_OUTGOING_H
#define MIGD_DAEMON_OUTGOING_H

#include "base/err.h"
#include "transport/addr.h"

struct guest;
struct migration;

/*
 * Check whether G can be migrated now (QMP.md 2.1), and set out: the status becomes `setup`. What goes wrong later is in
 * the migration.
 */
int outgoing_start(struct guest *g, const char *uri, const struct addr *addr, struct merr *err);

/* Cancel M (any direction, may be NULL). -EBUSY with ERR: it is too late. */
int outgoing_cancel(struct migration *m, struct merr *err);

#endif
