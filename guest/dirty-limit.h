/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much each vCPU may dirty in a second, kept by its dirty ring.
 *
 * Each entry of a vCPU's ring costs it the time that the limit gives to a page. At each harvest (its
 * own, when the ring is full, or the service thread's, DIRTY_LIMIT_HARVEST_NS after the last one)
 * what was dirtied is charged; a vCPU that has used up more time than has passed is held in the gate
 * until it is even. A pause ends that at once. A vCPU that did not use its limit up between two
 * harvests has no credit from that. However low the limit, a vCPU runs for one part in a hundred.
 *
 * Set on the service thread; charged by any.
 */
#ifndef MIGD_GUEST_DIRTY_LIMIT_H
#define MIGD_GUEST_DIRTY_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct migd_guest;
struct attach_dirty_limit;

/* What a vCPU did in the period before, and, fading, in those before that. */
struct dirty_limit_vcpu {
	uint64_t limit_mib; /* MiB/s; 0: none */
	uint64_t entries, held_ns; /* counters, as they were at the period's start */
	uint64_t rate_mib;
	uint64_t recent_entries, recent_held_ns;
};

struct dirty_limit {
	bool by_migration; /* set by the worker: an operator cannot change it */
	uint64_t period_ns;
	uint64_t period_start_ns;
	uint64_t next_ns;               /* harvest */
	struct dirty_limit_vcpu *vcpus; /* by index; NULL: nothing is limited */
	uint64_t throttle_us;           /* the longest sleep of a vCPU for a ring that it fills */
	uint64_t ring_full_us;          /* how long that takes; 0: nobody writes */
};

/*
 * A vCPU had used up its time until PAID_NS, was harvested at LAST_NS and now again: N_PAGES more,
 * of which it may dirty LIMIT_BPS bytes a second. Until when has it used up its time?
 */
uint64_t dirty_limit_charge(uint64_t paid_ns, uint64_t last_ns, uint64_t now_ns, uint64_t n_pages,
			    uint64_t limit_bps);

/* Limit one vCPU or all, or lift it. -EOPNOTSUPP without rings, -EINVAL, -EBUSY (a migration's), ... */
int dirty_limit_set(struct migd_guest *g, const struct attach_dirty_limit *req, bool by_migration,
		    struct merr *err);
/* Lift all that the migration set. */
void dirty_limit_undo(struct migd_guest *g);
void dirty_limit_free(struct migd_guest *g);
void dirty_limit_tick(struct migd_guest *g, uint64_t now_ns);
uint64_t dirty_limit_deadline(const struct migd_guest *g);

#endif
