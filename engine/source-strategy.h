/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strategy of a migration that runs: asks engine/strategy.h after each pass, and with a deadline now and then in mid-pass,
 * carries out what it says, and tells the daemon. Migration thread.
 */
#ifndef MIGD_ENGINE_SOURCE_STRATEGY_H
#define MIGD_ENGINE_SOURCE_STRATEGY_H

#include "engine/strategy.h"

struct source;

struct source_strategy {
	struct strategy decider;
	uint64_t pass_ns, pass_bytes;	/* when the pass began, and what had been sent */
	uint64_t before_bytes;		/* to be sent then */
	uint64_t last_look_ns;
	char reason[DECISION_REASON_MAX];	/* why the guest is to be stopped: told once it is */
};

/* Tell the daemon of a decision that is being carried out. */
void source_decided(struct source *s, enum migration_decision_kind kind, const char *reason);

void source_strategy_pass_begins(struct source *s);

/*
 * After a pass and its sync; FITS: by engine/convergence.h the guest is to be stopped. 1: stop it; 0: make another pass, or,
 * if m->start_postcopy is set now, go to post-copy; -errno with s->err.
 */
int source_strategy_after_pass(struct source *s, bool fits);

/* Often, in mid-pass. 0 (m->start_postcopy may be set now), or -errno with s->err. */
int source_strategy_tick(struct source *s);

#endif
