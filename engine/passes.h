/* SPDX-License-Identifier: Apache-2.0 */
/* How the source's passes over memory began, for its daemon, and the next one. */
#ifndef MIGD_ENGINE_PASSES_H
#define MIGD_ENGINE_PASSES_H

#include <stdint.h>

#include "engine/link.h"
#include "schema/types.h"

/* The beginning of one pass, with the counters so far: what a pass did is the difference to the next one's. */
struct pass_begin {
	uint64_t number;	/* dirty_sync_count: 1 is the first */
	uint64_t time_ns;	/* CLOCK_MONOTONIC */
	uint64_t dirtied_pages;	/* to be sent in it */
	uint64_t dirty_pages_rate; /* pages/s: those, over the time since the pass before began; 0: the first */
	uint32_t throttle_percent; /* during the pass before */
	uint64_t normal_pages, zero_pages, bytes; /* sent before it */
};

/* The oldest first. */
struct passes {
	struct pass_begin list[LINK_PASSES_MAX];
	uint32_t n;
};

void passes_add(struct passes *ps, const struct pass_begin *p);

/* As the schema has it. */
struct worker_pass pass_describe(const struct pass_begin *p);

#endif
