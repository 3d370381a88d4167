/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At most so many migrations at once in each direction (host-set-parameters, docs/host-limits.md); the others wait for their
 * turn, the one with the highest priority first, then the one that came first.
 *
 *   outgoing    waits before anything is begun: its VMM knows nothing of it. It outlives the daemon (daemon/journal.h)
 *   incoming    waits once a source has connected: its worker asks (LINK_ADMIT), and keeps the source waiting
 *
 * Nothing is counted: who waits and who has its turn is seen in the registry, so that it cannot go wrong.
 */
#ifndef MIGD_DAEMON_QUEUE_H
#define MIGD_DAEMON_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/types.h"

struct daemon;
struct migration;

/* Outgoing, before it begins: whether it has to wait. */
bool queue_is_needed(const struct migration *m);

/* M, which is installed, waits from now on. Its journal is written; -errno with ERR: that could not be. */
int queue_enter(struct migration *m, struct merr *err);

/* M waited in a former daemon's queue; ARRIVAL is its number there. */
void queue_restore(struct migration *m, uint64_t arrival);

/* Incoming: M's worker has a source with this ticket, which is not 0; or has none any more: 0. */
void queue_ask(struct migration *m, uint32_t ticket);

/* Something changed by which the next one may have its turn. It begins from the event loop. */
void queue_review(struct daemon *d);

/* 1: it is the next. 0: it does not wait. */
uint32_t queue_position(const struct migration *m);

/* How many wait as M does. */
uint32_t queue_length(const struct migration *m);

/*
 * All that wait in DIRECTION, the next one first, in an array of *RET_N that the caller frees: number i has the position
 * i + 1. In one go, for whoever looks at all of them. -ENOMEM.
 */
int queue_list(const struct daemon *d, enum worker_direction direction, const struct migration ***ret, size_t *ret_n);

/* The daemon ends. */
void queue_done(struct daemon *d);

#endif
