/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announcing a guest on its networks (announce-self, and the end of an incoming migration): this
 * side decides when, the VMM sends. QMP.md 2.3.
 */
#ifndef MIGD_DAEMON_ANNOUNCE_H
#define MIGD_DAEMON_ANNOUNCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct guest;
struct qmp_call;

struct announce_plan {
	uint64_t initial_ms, max_ms, step_ms;
	uint64_t rounds;
	const char *id;                /* NULL: that of the end of a migration */
	const char *const *interfaces; /* borrowed, as ID; none: all */
	size_t n_interfaces;
};

/* Milliseconds from round ROUND (1 is the first) to the next. */
uint64_t announce_delay_ms(const struct announce_plan *plan, uint64_t round);

/*
 * Send the first round now and the others by a timer, in the place of one of the same id. CALL, if
 * not NULL, is answered when the VMM answered the first round. A round that fails ends it. -EINVAL,
 * -ENOMEM, -ENOTCONN with ERR, and CALL is not answered.
 */
int announce_start(struct guest *g, const struct announce_plan *plan, struct qmp_call *call,
		   struct merr *err);

/* A migration brought G here: by its announce-* parameters. */
void announce_arrival(struct guest *g);

/* Forget all of G's timers; calls that wait are answered. */
void announce_end(struct guest *g);

#endif
