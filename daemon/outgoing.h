/* SPDX-License-Identifier: Apache-2.0 */
/* `migrate`: the source's side of a migration's beginning. */
#ifndef MIGD_DAEMON_OUTGOING_H
#define MIGD_DAEMON_OUTGOING_H

#include <stdbool.h>

#include "base/err.h"
#include "schema/types.h"
#include "transport/addr.h"

struct guest;
struct migration;
struct qmp_call;

/* What `migrate` asks for. */
struct outgoing {
	const char *uri; /* as the operator gave it */
	const struct addr *addr;
	const char *cpr_path; /* mode cpr-transfer's channel, or NULL */
	int priority;	       /* checked by priority_check() */
	bool allow_weak_handover;
	enum migration_strategy strategy;
	uint64_t deadline_ms; /* 0: none */
	bool start_remote;    /* announce it first (daemon/foretell.h): ADDR names its guest */
	bool preflight_only;  /* compare with the other side, and stop (daemon/preflight.h) */
};

/*
 * Check whether G can be migrated now (QMP.md 2.1), and set out, or wait in the queue: the status becomes `setup`. What
 * goes wrong later is in the migration; a stream on this host that cannot be opened both there and
 * in ERR. Names of descriptors are CALL's session's.
 */
int outgoing_start(struct guest *g, struct qmp_call *call, const struct outgoing *o,
		   struct merr *err);

/* M waited, and it is its turn (daemon/queue.h). What goes wrong is in the migration. */
void outgoing_begin(struct migration *m);

/*
 * M waited in a former daemon's queue, and goes on waiting; NULL, and the text is in ERR: it cannot. M is not its guest's
 * migration yet.
 */
int outgoing_restore(struct migration *m, uint64_t arrival, struct merr *err);

#endif
