/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker link, as a migration sees it: what is told to a worker, and what its messages do
 * (engine/link.h).
 */
#ifndef MIGD_DAEMON_LINK_H
#define MIGD_DAEMON_LINK_H

#include "base/err.h"
#include "daemon/worker.h"
#include "schema/types.h"

struct migration;

/* The handler of a migration's worker; the opaque pointer is the migration. */
extern const struct worker_handler link_handler;

/*
 * START: everything in M, and its descriptors. ADOPT_FD is the listening socket of the state
 * directory.
 */
int link_start(struct migration *m, int adopt_fd, struct merr *err);

/* Nothing happens without a worker. A worker that does not read is killed: its migration fails. */
void link_parameters(struct migration *m);
/* Incoming: the source that M's worker asked about may begin. */
void link_admitted(struct migration *m);
/* M's share of the host's bandwidth. */
void link_share(struct migration *m);
void link_cancel(struct migration *m);
void link_continue(struct migration *m);
/* Outgoing: to post-copy as soon as possible, also if M has no worker yet. Again does nothing. */
void link_start_postcopy(struct migration *m);
/* Post-copy: give the connection up. */
void link_pause(struct migration *m);
/* Post-copy, paused: go on over FD (borrowed); incoming: with who connects to it. */
void link_recover(struct migration *m, int fd);
/* ERR is NULL: what was written is there to stay. */
void link_published(struct migration *m, const struct merr *err);
/*
 * A connection to the host's shared port, on FD (borrowed). -EAGAIN: the worker has enough to read: what matters more needs
 * the room; -ENOTCONN: there is no worker.
 */
int link_arrival(struct migration *m, int fd);
void link_resolve(struct migration *m, enum resolve_outcome outcome);

/*
 * The guest did something that its migration's worker comes to last: what the worker said up to `active` is older.
 */
void link_catch_up(struct migration *m);

/* Act on a worker's STATE: also what ADOPT says. */
int link_apply_state(struct migration *m, const struct worker_state *s, struct merr *err);

#endif
