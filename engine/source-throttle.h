/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities auto-converge and dirty-limit in a migration that runs: watches what the guest dirties, sync by sync, and
 * slows its vCPUs down: all alike, by a share of their time, or each by what it may dirty. The library lifts that by itself
 * on every end of the migration. Migration thread.
 */
#ifndef MIGD_ENGINE_SOURCE_THROTTLE_H
#define MIGD_ENGINE_SOURCE_THROTTLE_H

#include "engine/throttle.h"

struct source;

struct source_throttle {
	struct throttle_watch watch;
	uint64_t counted_pages;	/* of ram_source_dirtied_pages() */
	uint64_t last_sync_ns;
	uint64_t last_stats_ns;
	/* What the library was told; 0: nothing. */
	unsigned int percent;
	uint64_t limit_mib, period_ms;
};

/* After each sync while the guest runs. 0, or -errno with s->err if the library refused. */
int source_throttle_synced(struct source *s);

/*
 * auto-converge: throttle by one step more now, whatever was watched, BECAUSE something else says so. Nothing happens at the
 * maximum. As above.
 */
int source_throttle_step(struct source *s, const char *because);

/*
 * Now and then during a pass: fetches statistics, and syncs if one of the capabilities has waited too long for the pass to
 * end. 0 or -errno.
 */
int source_throttle_tick(struct source *s);

/* The migration is over: the library has lifted, or will lift, what there is. */
void source_throttle_ended(struct source *s);

#endif
