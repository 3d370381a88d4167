/* SPDX-License-Identifier: Apache-2.0 */
/* Auto-converge in a migration that runs. */
#include "engine/source-throttle.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/source.h"

/*
 * A pass over a slow channel takes minutes, and decisions are made at syncs: then there is one in mid-pass. Not in the
 * first pass, in which everything is sent anyway.
 */
#define SYNC_AT_LEAST_NS (5 * NS_PER_SEC)

static int set_throttle(struct source *s, unsigned int percent)
{
	int r;

	if (percent == s->throttle.percent)
		return 0;
	r = guest_throttle(&s->guest, percent, &s->err);
	if (r < 0)
		return r;
	log_info("the guest dirties memory faster than it is sent: vCPUs are throttled by %u%% mig=%s", percent,
		 s->m->start.id);
	s->throttle.percent = percent;
	stats_set(s->m->stats, throttle_percent, percent);
	return 0;
}

int source_throttle_synced(struct source *s)
{
	struct source_throttle *t = &s->throttle;
	struct throttle_settings set = throttle_settings(&s->m->throttle);
	uint64_t total = ram_source_dirtied_pages(s->sender), fresh = total - t->counted_pages;
	struct throttle_load load;

	t->counted_pages = total;
	t->last_sync_ns = clock_now_ns();
	if (s->guest_paused || !migration_has_capability(s->m, MIGRATION_CAPABILITY_AUTO_CONVERGE))
		return 0;
	if (!throttle_watch_sync(&t->watch, t->last_sync_ns, fresh * WIRE_PAGE_SIZE, out_offset(s->out),
				 set.threshold_percent, &load))
		return 0;
	return set_throttle(s, throttle_next(&set, t->percent, &load));
}

int source_throttle_tick(struct source *s)
{
	if (s->guest_paused || !migration_has_capability(s->m, MIGRATION_CAPABILITY_AUTO_CONVERGE))
		return 0;
	if (stats_get(s->m->stats, dirty_sync_count) < 2 ||
	    clock_now_ns() < s->throttle.last_sync_ns + SYNC_AT_LEAST_NS)
		return 0;
	return source_sync(s);
}

void source_throttle_ended(struct source *s)
{
	s->throttle.percent = 0;
	stats_set(s->m->stats, throttle_percent, 0);
}
