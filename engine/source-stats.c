/* SPDX-License-Identifier: Apache-2.0 */
/* The source's statistics while it sends. */
#include "engine/source-stats.h"

#include "base/clock.h"
#include "engine/source.h"

/* Speeds are those of the last window of at least this length. */
#define WINDOW_NS (100 * NS_PER_MS)

/* dirty-pages-rate is over at least this time. */
#define RATE_NS NS_PER_SEC

uint64_t source_stats_pages(const struct source *s)
{
	const struct stats_page *st = s->m->stats;

	return stats_get(st, normal_pages) + stats_get(st, duplicate_pages) +
	       stats_get(st, xbzrle_pages) - stats_get(st, xbzrle_overflow);
}

uint64_t source_stats_bytes(const struct source *s)
{
	return out_offset(s->out) + stats_get(s->m->stats, beside_bytes);
}

static void open_window(struct source *s, uint64_t now)
{
	s->stats.window_ns = now;
	s->stats.window_bytes = source_stats_bytes(s);
	s->stats.window_pages = source_stats_pages(s);
}

/* Whether the guest runs is asked where it costs no extra wait of note: once a pass. */
static void look_at_guest(struct source *s)
{
	struct attach_query_reply state;
	struct merr ignored = MERR_INIT;

	if (guest_query(&s->guest, &state, &ignored) == 0)
		s->stats.stopped = state.run_state != MIGD_GUEST_RS_RUNNING;
}

void source_stats_begin(struct source *s)
{
	open_window(s, clock_now_ns());
	/* Until something is measured, what is allowed is what is expected. */
	stats_set(s->m->stats, expected_downtime_ms, atomic_load(&s->m->downtime_limit_ms));
}

/* What multifd's channels send is counted there only (it is what QEMU does). */
static uint64_t main_bytes(const struct source *s)
{
	return source_stats_bytes(s) - stats_get(s->m->stats, multifd_bytes);
}

/* At send time: to the guest that runs, or to the one that waits. */
static void attribute(struct source *s)
{
	uint64_t at = main_bytes(s), bytes = at - s->stats.ram_offset;

	s->stats.ram_offset = at;
	if (s->stats.postcopy)
		stats_add(s->m->stats, postcopy_bytes, bytes);
	else if (s->guest_paused || s->stats.stopped)
		stats_add(s->m->stats, downtime_bytes, bytes);
	else
		stats_add(s->m->stats, precopy_bytes, bytes);
}

void source_stats_ram_begin(struct source *s)
{
	s->stats.ram_offset = main_bytes(s);
	s->stats.sending_ram = true;
}

void source_stats_ram_end(struct source *s)
{
	attribute(s);
	s->stats.sending_ram = false;
}

void source_stats_tick(struct source *s)
{
	struct stats_page *st = s->m->stats;
	uint64_t now = clock_now_ns(), ns = now - s->stats.window_ns;

	if (s->stats.window_ns == 0 || ns < WINDOW_NS)
		return;
	stats_set(st, bandwidth_bps, (source_stats_bytes(s) - s->stats.window_bytes) * NS_PER_SEC / ns);
	stats_set(st, pages_per_second,
		  (source_stats_pages(s) - s->stats.window_pages) * NS_PER_SEC / ns);
	open_window(s, now);
	if (s->multifd)
		multifd_source_tick(s->multifd);
	if (!s->stats.sending_ram)
		return;
	attribute(s);
	if (!s->stats.tells_remaining)
		stats_set(st, remaining_bytes, ram_todo_pages(&s->ram) * WIRE_PAGE_SIZE);
}

static void publish_rate(struct source *s, uint64_t now)
{
	uint64_t pages = s->sender ? ram_source_dirtied_pages(s->sender) : 0;
	uint64_t ns = now - s->stats.rate_ns;

	if (s->stats.rate_ns && ns < RATE_NS)
		return;
	if (s->stats.rate_ns)
		stats_set(s->m->stats, dirty_pages_rate, (pages - s->stats.rate_pages) * NS_PER_SEC / ns);
	s->stats.rate_ns = now;
	s->stats.rate_pages = pages;
}

void source_stats_synced(struct source *s)
{
	struct stats_page *st = s->m->stats;

	publish_rate(s, clock_now_ns());
	stats_add(st, dirty_sync_count, 1);
	stats_set(st, remaining_bytes, s->left_bytes);
	look_at_guest(s);
}

void source_stats_tell_pass(struct source *s)
{
	struct stats_page *st = s->m->stats;
	uint64_t now = clock_now_ns(), pages = ram_todo_pages(&s->ram), before_ns = s->stats.pass_ns;
	struct pass_begin p = {
		.number = stats_get(st, dirty_sync_count),
		.time_ns = now,
		.dirtied_pages = pages,
		.dirty_pages_rate = before_ns && now > before_ns ? pages * NS_PER_SEC / (now - before_ns) : 0,
		.throttle_percent = (uint32_t)stats_get(st, throttle_percent),
		.normal_pages = stats_get(st, normal_pages),
		.zero_pages = stats_get(st, duplicate_pages),
		.bytes = source_stats_bytes(s),
	};

	s->stats.pass_ns = now;
	stats_set(st, last_pass_end_ns, 0);
	report_pass(s->m, &p);
}

void source_stats_last_pass_over(struct source *s)
{
	struct stats_page *st = s->m->stats;

	stats_set(st, last_pass_end_bytes, source_stats_bytes(s));
	stats_set(st, last_pass_end_ns, clock_now_ns());
}
