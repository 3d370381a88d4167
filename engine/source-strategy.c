/* SPDX-License-Identifier: Apache-2.0 */
/* The strategy of a migration that runs. */
#include "engine/source-strategy.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/postcopy-source.h"
#include "engine/source.h"

/* Between two looks at the deadline, in mid-pass. */
#define LOOK_NS (100 * NS_PER_MS)

/* A bandwidth that is measured for less is no measure. */
#define MEASURE_NS (500 * NS_PER_MS)

static uint64_t elapsed_ms(const struct source *s)
{
	return (clock_now_ns() - stats_get(s->m->stats, start_ns)) / NS_PER_MS;
}

static struct strategy_rules rules_of(const struct source *s)
{
	const struct worker_start *start = &s->m->start;

	return (struct strategy_rules){
		.strategy = start->has_strategy ? start->strategy : MIGRATION_STRATEGY_PRECOPY,
		.deadline_ms = start->has_deadline ? start->deadline : 0,
		.postcopy = s->ram.postcopy,
		.throttle = migration_has_capability(s->m, MIGRATION_CAPABILITY_AUTO_CONVERGE),
	};
}

static struct strategy_input input_of(const struct source *s, uint64_t left_bytes, uint64_t bandwidth_bps)
{
	return (struct strategy_input){
		.elapsed_ms = elapsed_ms(s),
		.before_bytes = s->strategy.before_bytes,
		.left_bytes = left_bytes,
		.bandwidth_bps = bandwidth_bps,
		.limit_ms = atomic_load(&s->m->downtime_limit_ms),
		.throttle_percent = s->throttle.percent,
		.throttle_max_percent = throttle_settings(&s->m->throttle).max_percent,
	};
}

void source_decided(struct source *s, enum migration_decision_kind kind, const char *reason)
{
	struct decision d = {
		.kind = kind,
		.pass = stats_get(s->m->stats, dirty_sync_count),
		.time_ms = elapsed_ms(s),
	};

	(void)snprintf(d.reason, sizeof(d.reason), "%s", reason);
	report_decision(s->m, &d);
}

static int carry_out(struct source *s, enum strategy_action action, const char *reason)
{
	switch (action) {
	case STRATEGY_GO_ON:
		return 0;
	case STRATEGY_SWITCH:
		(void)snprintf(s->strategy.reason, sizeof(s->strategy.reason), "%s", reason);
		return 1;
	case STRATEGY_THROTTLE:
		return source_throttle_step(s, reason);
	case STRATEGY_POSTCOPY:
		source_decided(s, MIGRATION_DECISION_KIND_POSTCOPY, reason);
		atomic_store(&s->m->start_postcopy, true);
		return 0;
	case STRATEGY_GIVE_UP:
		source_decided(s, MIGRATION_DECISION_KIND_GIVE_UP, reason);
		return merr_set(&s->err, -ETIMEDOUT, "%s: the guest stays here. Give it more time or bandwidth, or let the "
				"strategy be 'auto'", reason);
	}
	return 0;
}

void source_strategy_pass_begins(struct source *s)
{
	s->strategy.pass_ns = s->strategy.last_look_ns = clock_now_ns();
	s->strategy.pass_bytes = source_stats_bytes(s);
	s->strategy.before_bytes = s->left_bytes;
}

int source_strategy_after_pass(struct source *s, bool fits)
{
	struct strategy_rules rules = rules_of(s);
	struct strategy_input in = input_of(s, s->left_bytes, s->bandwidth_bps);
	char reason[DECISION_REASON_MAX];
	enum strategy_action action;

	in.fits = fits;
	action = strategy_after_pass(&s->strategy.decider, &rules, &in, reason);
	return carry_out(s, action, reason);
}

/* Of what was sent in this pass, that much is dirty again by now, if the guest goes on as it did. */
static uint64_t dirtied_bytes(const struct source *s, uint64_t sent, uint64_t ns)
{
	uint64_t rate = stats_get(s->m->stats, dirty_pages_rate) * WIRE_PAGE_SIZE;

	return min_u64(sent, rate / 1000 * (ns / NS_PER_MS));
}

int source_strategy_tick(struct source *s)
{
	struct source_strategy *st = &s->strategy;
	struct strategy_rules rules = rules_of(s);
	uint64_t now = clock_now_ns(), ns = now - st->pass_ns, sent = source_stats_bytes(s) - st->pass_bytes;
	char reason[DECISION_REASON_MAX];
	struct strategy_input in;

	if (rules.deadline_ms == 0 || s->guest_paused || now - st->last_look_ns < LOOK_NS || postcopy_is_wanted(s))
		return 0;
	st->last_look_ns = now;
	in = input_of(s, ram_todo_pages(&s->ram) * WIRE_PAGE_SIZE + dirtied_bytes(s, sent, ns),
		      ns > MEASURE_NS ? sent * NS_PER_SEC / ns : s->bandwidth_bps);
	return carry_out(s, strategy_in_pass(&rules, &in, reason), reason);
}
