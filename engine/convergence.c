/* SPDX-License-Identifier: Apache-2.0 */
/* When to stop the guest. */
#include "engine/convergence.h"

#include "base/bytes.h"

#define US_PER_SEC 1000000ULL

/*
 * Below this the rest weighs less than what every switchover costs (pause, device state, two round trips: 1 to 2 ms on
 * the development machines): another pass cannot be noticed.
 */
#define FLOOR_US 500U

/* A pass that leaves more than this share of what the one before left does not shrink it any more. */
#define SHRINK_NUM 3U
#define SHRINK_DEN 4U

/* Passes that may follow once the rest fits: a guest whose load swings could keep it going for ever. */
#define FITTING_MAX 30U

uint64_t convergence_expected_us(const struct convergence_input *in)
{
	uint64_t scaled;

	if (in->left_bytes == 0)
		return 0;
	if (in->bandwidth_bps == 0)
		return UINT64_MAX;
	if (!mul_ok(in->left_bytes, US_PER_SEC, &scaled))
		return in->left_bytes / in->bandwidth_bps * US_PER_SEC;
	return scaled / in->bandwidth_bps;
}

bool convergence_switch(struct convergence *c, const struct convergence_input *in)
{
	uint64_t expected_us = convergence_expected_us(in);
	uint64_t prev = c->prev_bytes;
	bool shrinks = prev == 0 || in->left_bytes < prev / SHRINK_DEN * SHRINK_NUM;

	c->prev_bytes = in->left_bytes;
	if (expected_us > in->limit_us) {
		c->fitting = 0;
		return false;
	}
	if (expected_us <= FLOOR_US)
		return true;
	return ++c->fitting > FITTING_MAX || !shrinks;
}
