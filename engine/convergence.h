/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to stop the guest. The limit is a ceiling, not a target: once the rest would fit it, passes go on as long as
 * each still makes the expected blackout noticeably shorter. Pure: no clock, no I/O.
 */
#ifndef MIGD_ENGINE_CONVERGENCE_H
#define MIGD_ENGINE_CONVERGENCE_H

#include <stdbool.h>
#include <stdint.h>

struct convergence {
	uint64_t prev_bytes;	/* left after the pass before; 0: there was none */
	unsigned int fitting;	/* passes in a row after which the rest fitted the limit */
	bool lost_fit;		/* it fitted once, and then did not: the next time is taken */
	unsigned int tries;	/* fitting passes that did not shrink */
	uint64_t best_bytes;	/* the least that one of those left */
};

struct convergence_input {
	uint64_t left_bytes;	/* dirty after the last sync */
	uint64_t bandwidth_bps;	/* bytes per second expected while the guest is stopped */
	uint64_t limit_us;	/* downtime-limit */
};

/* The rest takes this long at this bandwidth, microseconds. UINT64_MAX without a bandwidth. */
uint64_t convergence_expected_us(const struct convergence_input *in);

/* True: stop the guest now. False: make another pass. */
bool convergence_switch(struct convergence *c, const struct convergence_input *in);

#endif
