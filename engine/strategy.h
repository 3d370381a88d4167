/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a migration comes to its end: by pre-copy, by slowing the guest down, by post-copy, or not at all. Pure: no clock, no
 * I/O; engine/source-strategy.c asks, and carries out.
 *
 *   precopy    passes until what is left fits the downtime-limit (engine/convergence.h)
 *   postcopy   one pass, then post-copy
 *   auto       pre-copy while it converges: each pass leaves less than three quarters of what there was before it. After
 *              two in a row that do not, vCPUs are throttled if that is allowed and possible any more, else post-copy
 *
 * With a deadline, `auto` goes to post-copy as soon as neither the passes that are still needed, nor one more pass
 * and post-copy after it, would be done in time; what cannot be done in time is late by as little as possible. Where
 * post-copy is not allowed, a migration whose deadline passes while memory is copied gives up.
 */
#ifndef MIGD_ENGINE_STRATEGY_H
#define MIGD_ENGINE_STRATEGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/decisions.h"
#include "schema/types.h"

enum strategy_action {
	STRATEGY_GO_ON = 1,	/* with this pass, or another one */
	STRATEGY_SWITCH,	/* stop the guest, and finish */
	STRATEGY_THROTTLE,	/* slow the guest down by one step more, and go on */
	STRATEGY_POSTCOPY,
	STRATEGY_GIVE_UP,	/* the guest stays */
};

/* What holds for the whole migration. */
struct strategy_rules {
	enum migration_strategy strategy;
	uint64_t deadline_ms;	/* since `migrate`; 0: none */
	bool postcopy;		/* both sides can */
	bool throttle;		/* auto-converge is on */
};

/* How things stand. */
struct strategy_input {
	uint64_t elapsed_ms;	/* since `migrate` */
	uint64_t before_bytes;	/* to be sent when the pass began */
	uint64_t left_bytes;	/* to be sent now */
	uint64_t bandwidth_bps;	/* bytes a second; 0: not known yet */
	uint64_t limit_ms;	/* downtime-limit */
	bool fits;		/* convergence_switch() says so */
	unsigned int throttle_percent, throttle_max_percent;
};

/* Zeroed at the start. */
struct strategy {
	unsigned int stalled;		/* passes in a row that did not converge */
	unsigned int throttle_percent;	/* at the last decision */
};

/*
 * After a pass and its sync; or, with a deadline, in mid-pass, where only the deadline counts. REASON says why, for an
 * operator; "" with STRATEGY_GO_ON.
 */
enum strategy_action strategy_after_pass(struct strategy *s, const struct strategy_rules *rules,
					 const struct strategy_input *in, char reason[DECISION_REASON_MAX]);
enum strategy_action strategy_in_pass(const struct strategy_rules *rules, const struct strategy_input *in,
				      char reason[DECISION_REASON_MAX]);

#endif
