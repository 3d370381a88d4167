/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability auto-converge in a migration that runs: watches what the guest dirties, sync by sync, and slows its vCPUs
 * down. The library lifts the throttle by itself on every end of the migration. Migration thread.
 */
#ifndef MIGD_ENGINE_SOURCE_THROTTLE_H
#define MIGD_ENGINE_SOURCE_THROTTLE_H

#include "engine/throttle.h"

struct source;

struct source_throttle {
	struct throttle_watch watch;
	uint64_t counted_pages;	/* of ram_source_dirtied_pages() */
	uint64_t last_sync_ns;
	unsigned int percent;	/* what the library was told; 0: nothing */
};

/* After each sync while the guest runs. 0, or -errno with s->err if the library refused. */
int source_throttle_synced(struct source *s);

/* Now and then during a pass: a sync, if auto-converge has waited too long for the pass to end. 0 or -errno. */
int source_throttle_tick(struct source *s);

/* The migration is over: the library has lifted, or will lift, what there is. */
void source_throttle_ended(struct source *s);

#endif
