/* SPDX-License-Identifier: Apache-2.0 */
/* How a migration comes to its end. */
#include "engine/strategy.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* A pass that leaves this share of what there was before it, or more, does not converge. */
#define SHRINK_NUM 3U
#define SHRINK_DEN 4U

/* One such pass may be a burst. */
#define STALLED_MAX 2U

/* What a switchover takes beside its memory: pausing, device state, some round trips, generously. */
#define SWITCH_MS 300U

/* Estimates of time are taken for a quarter too short. */
#define SAFE(ms) ((ms) + (ms) / 4)

/* Longer than any migration, and far from where sums overflow. */
#define FOREVER_MS 1000000000000000ULL

#define IN_MIB(bytes) ((double)(bytes) / (1 << 20))

__attribute__((format(printf, 3, 4)))
static enum strategy_action say(enum strategy_action action, char *reason, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(reason, DECISION_REASON_MAX, format, ap);
	va_end(ap);
	return action;
}

/* How long BYTES take; for ever, if that is not known. */
static uint64_t send_ms(uint64_t bytes, uint64_t bandwidth_bps)
{
	double ms;

	if (bytes == 0)
		return 0;
	if (bandwidth_bps == 0)
		return FOREVER_MS;
	ms = (double)bytes * 1000 / (double)bandwidth_bps;
	return ms < (double)FOREVER_MS ? (uint64_t)ms : FOREVER_MS;
}

static bool converges(const struct strategy_input *in)
{
	return in->left_bytes < in->before_bytes / SHRINK_DEN * SHRINK_NUM;
}

static uint64_t time_left_ms(const struct strategy_rules *rules, const struct strategy_input *in)
{
	return in->elapsed_ms < rules->deadline_ms ? rules->deadline_ms - in->elapsed_ms : 0;
}

/* All passes still to come, each as much shorter than the one before as the last one was: a geometric series. */
static uint64_t precopy_ms(const struct strategy_input *in)
{
	double share = (double)in->left_bytes / (double)in->before_bytes;

	return SWITCH_MS + (uint64_t)((double)send_ms(in->left_bytes, in->bandwidth_bps) / (1 - share));
}

/* One more pass, and post-copy of what that leaves if it does as well as the last one. */
static uint64_t one_more_pass_ms(const struct strategy_input *in)
{
	double share = in->before_bytes > 0 ? (double)in->left_bytes / (double)in->before_bytes : 1;
	double after = (double)in->left_bytes * (share < 1 ? share : 1);
	uint64_t ms = send_ms(in->left_bytes + (uint64_t)after, in->bandwidth_bps);

	return SWITCH_MS + SAFE(ms);
}

/* True: whatever happens until the next decision, there is a way to be done in time. */
static bool may_wait(const struct strategy_rules *rules, const struct strategy_input *in)
{
	uint64_t left_ms = time_left_ms(rules, in);

	if (in->bandwidth_bps == 0)
		return left_ms > 0;
	return (converges(in) && precopy_ms(in) <= left_ms) || one_more_pass_ms(in) <= left_ms;
}

/* A pass, or another decision, would be too late for the deadline, and what is left could be sent while the guest is stopped. */
static bool last_chance(const struct strategy_rules *rules, const struct strategy_input *in)
{
	uint64_t ms = send_ms(in->left_bytes, in->bandwidth_bps);

	return rules->deadline_ms > 0 && ms <= in->limit_ms && SWITCH_MS + 2 * ms >= time_left_ms(rules, in);
}

static enum strategy_action give_up(const struct strategy_rules *rules, const struct strategy_input *in, char *reason)
{
	return say(STRATEGY_GIVE_UP, reason,
		   "%.2f MiB are left when the deadline of %" PRIu64 " ms has passed, and post-copy is not %s",
		   IN_MIB(in->left_bytes), rules->deadline_ms,
		   rules->strategy == MIGRATION_STRATEGY_PRECOPY ? "wanted (strategy precopy)" :
								   "possible (capability postcopy-ram, on both sides)");
}

static enum strategy_action in_time_by_postcopy(const struct strategy_rules *rules, const struct strategy_input *in,
						char *reason)
{
	return say(STRATEGY_POSTCOPY, reason,
		   "%.2f MiB are left, at %.2f MiB/s, and pre-copy would not be done in the %" PRIu64
		   " ms until the deadline", IN_MIB(in->left_bytes), IN_MIB(in->bandwidth_bps), time_left_ms(rules, in));
}

/* Passes do not converge. */
static enum strategy_action stalled(struct strategy *s, const struct strategy_rules *rules,
				    const struct strategy_input *in, char *reason)
{
	if (rules->throttle && in->throttle_percent < in->throttle_max_percent) {
		s->stalled = 0;
		return say(STRATEGY_THROTTLE, reason, "a pass left %.2f MiB of %.2f MiB: pre-copy does not converge",
			   IN_MIB(in->left_bytes), IN_MIB(in->before_bytes));
	}
	if (rules->postcopy)
		return say(STRATEGY_POSTCOPY, reason, "a pass left %.2f MiB of %.2f MiB: pre-copy does not converge%s",
			   IN_MIB(in->left_bytes), IN_MIB(in->before_bytes),
			   rules->throttle ? ", the guest throttled as far as it may be" : "");
	return STRATEGY_GO_ON;
}

static enum strategy_action decide_auto(struct strategy *s, const struct strategy_rules *rules,
					const struct strategy_input *in, char *reason)
{
	bool throttled = in->throttle_percent != s->throttle_percent;

	s->throttle_percent = in->throttle_percent;
	/* What a new throttle brings is seen in the passes that follow. */
	s->stalled = throttled || converges(in) ? 0 : s->stalled + 1;
	if (rules->deadline_ms > 0 && rules->postcopy && !may_wait(rules, in))
		return in_time_by_postcopy(rules, in, reason);
	return s->stalled >= STALLED_MAX ? stalled(s, rules, in, reason) : STRATEGY_GO_ON;
}

enum strategy_action strategy_after_pass(struct strategy *s, const struct strategy_rules *rules,
					 const struct strategy_input *in, char reason[DECISION_REASON_MAX])
{
	enum strategy_action action = STRATEGY_GO_ON;

	reason[0] = '\0';
	if (in->fits || last_chance(rules, in))
		return say(STRATEGY_SWITCH, reason, "%.2f MiB are left, which fits the downtime-limit of %" PRIu64 " ms%s",
			   IN_MIB(in->left_bytes), in->limit_ms, in->fits ? "" : ", shortly before the deadline");
	if (rules->strategy == MIGRATION_STRATEGY_POSTCOPY && rules->postcopy)
		return say(STRATEGY_POSTCOPY, reason, "%.2f MiB are left after the first pass: strategy postcopy",
			   IN_MIB(in->left_bytes));
	if (rules->strategy == MIGRATION_STRATEGY_AUTO)
		action = decide_auto(s, rules, in, reason);
	if (action == STRATEGY_GO_ON || action == STRATEGY_THROTTLE)
		if (rules->deadline_ms > 0 && time_left_ms(rules, in) == 0)
			return give_up(rules, in, reason);
	return action;
}

enum strategy_action strategy_in_pass(const struct strategy_rules *rules, const struct strategy_input *in,
				      char reason[DECISION_REASON_MAX])
{
	bool postcopy = rules->postcopy && rules->strategy != MIGRATION_STRATEGY_PRECOPY;
	uint64_t ms = send_ms(in->left_bytes, in->bandwidth_bps), left_ms = time_left_ms(rules, in);

	reason[0] = '\0';
	if (rules->deadline_ms == 0)
		return STRATEGY_GO_ON;
	if (postcopy && (left_ms == 0 || (in->bandwidth_bps > 0 && SWITCH_MS + SAFE(ms) > left_ms)))
		return in_time_by_postcopy(rules, in, reason);
	return left_ms == 0 ? give_up(rules, in, reason) : STRATEGY_GO_ON;
}
