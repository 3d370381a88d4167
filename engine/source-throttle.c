/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities auto-converge and dirty-limit in a migration that runs. */
#include "engine/source-throttle.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/source.h"

/*
 * A pass over a slow channel takes minutes, and decisions are made at syncs: then there is one in mid-pass. Not in the
 * first pass, in which everything is sent anyway.
 */
#define SYNC_AT_LEAST_NS (5 * NS_PER_SEC)

#define STATS_EVERY_NS (NS_PER_SEC / 2)

#define FASTER "the guest dirties memory faster than it is sent"

static bool converges_by(const struct source *s, enum migration_capability c)
{
	return !s->guest_paused && migration_has_capability(s->m, c);
}

static bool is_wanted(const struct source *s)
{
	return converges_by(s, MIGRATION_CAPABILITY_AUTO_CONVERGE) || converges_by(s, MIGRATION_CAPABILITY_DIRTY_LIMIT);
}

static int set_throttle(struct source *s, unsigned int percent, const char *because)
{
	char reason[DECISION_REASON_MAX];
	int r;

	if (percent == s->throttle.percent)
		return 0;
	r = guest_throttle(&s->guest, percent, &s->err);
	if (r < 0)
		return r;
	(void)snprintf(reason, sizeof(reason), "%s: vCPUs are throttled by %u%%", because, percent);
	source_decided(s, MIGRATION_DECISION_KIND_THROTTLE, reason);
	s->throttle.percent = percent;
	stats_set(s->m->stats, throttle_percent, percent);
	return 0;
}

/* The limit as the parameters have it now. */
static int set_limit(struct source *s)
{
	struct source_throttle *t = &s->throttle;
	char reason[DECISION_REASON_MAX];
	uint64_t limit_mib = atomic_load(&s->m->throttle.vcpu_limit_mib);
	uint64_t period_ms = atomic_load(&s->m->throttle.vcpu_period_ms);
	int r;

	if (limit_mib == t->limit_mib && period_ms == t->period_ms)
		return 0;
	r = guest_dirty_limit(&s->guest, limit_mib, period_ms, &s->err);
	if (r < 0)
		return r;
	(void)snprintf(reason, sizeof(reason), FASTER ": each vCPU may dirty %" PRIu64 " MiB/s", limit_mib);
	source_decided(s, MIGRATION_DECISION_KIND_THROTTLE, reason);
	t->limit_mib = limit_mib;
	t->period_ms = period_ms;
	stats_set(s->m->stats, dirty_limit_active, 1);
	return 0;
}

int source_throttle_synced(struct source *s)
{
	struct source_throttle *t = &s->throttle;
	struct throttle_settings set = throttle_settings(&s->m->throttle);
	uint64_t total = ram_source_dirtied_pages(s->sender), fresh = total - t->counted_pages;
	struct throttle_load load;
	bool high;

	t->counted_pages = total;
	t->last_sync_ns = clock_now_ns();
	if (!is_wanted(s))
		return 0;
	high = throttle_watch_sync(&t->watch, t->last_sync_ns, fresh * WIRE_PAGE_SIZE, source_stats_bytes(s),
				   set.threshold_percent, &load);
	if (converges_by(s, MIGRATION_CAPABILITY_DIRTY_LIMIT))
		/* Once there is a limit, a new one takes effect at the next sync, high or not. */
		return high || t->limit_mib ? set_limit(s) : 0;
	return high ? set_throttle(s, throttle_next(&set, t->percent, &load), FASTER) : 0;
}

int source_throttle_step(struct source *s, const char *because)
{
	struct source_throttle *t = &s->throttle;
	struct throttle_settings set = throttle_settings(&s->m->throttle);
	/* As if the guest dirtied twice what is allowed: with tailslow, half of its speed is too much. */
	struct throttle_load load = { .dirtied_bytes = 2, .allowed_bytes = 1 };

	/* Both high periods begin anew. */
	t->watch.n_high = 0;
	return converges_by(s, MIGRATION_CAPABILITY_AUTO_CONVERGE) ?
		       set_throttle(s, throttle_next(&set, t->percent, &load), because) : 0;
}

static int fetch_stats(struct source *s, uint64_t now_ns)
{
	struct attach_mig_dirty_limit_reply rep;
	int r;

	if (!s->throttle.limit_mib || now_ns < s->throttle.last_stats_ns + STATS_EVERY_NS)
		return 0;
	s->throttle.last_stats_ns = now_ns;
	r = guest_dirty_limit_stats(&s->guest, &rep, &s->err);
	if (r < 0)
		return r;
	stats_set(s->m->stats, dirty_limit_throttle_us, rep.throttle_us);
	stats_set(s->m->stats, dirty_limit_ring_full_us, rep.ring_full_us);
	return 0;
}

int source_throttle_tick(struct source *s)
{
	uint64_t now = clock_now_ns();
	int r;

	if (!is_wanted(s))
		return 0;
	r = fetch_stats(s, now);
	if (r < 0)
		return r;
	if (stats_get(s->m->stats, dirty_sync_count) < 2 || now < s->throttle.last_sync_ns + SYNC_AT_LEAST_NS)
		return 0;
	return source_sync(s);
}

void source_throttle_ended(struct source *s)
{
	s->throttle.percent = 0;
	s->throttle.limit_mib = 0;
	stats_set(s->m->stats, throttle_percent, 0);
	stats_set(s->m->stats, dirty_limit_active, 0);
}
