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

/*
 * Where passes have stopped shrinking, what they leave goes up and down with who gets the processors: a few more of them,
 * and one that leaves about as little as the best so far is taken. Only while they are short, and do not lose what fits.
 */
#define PATIENCE_US 100000U
#define PATIENCE_LEAST 3U
#define PATIENCE_MOST 8U

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

/* The passes do not shrink any more: true if this one is as good as it gets. */
static bool good_enough(struct convergence *c, uint64_t left_bytes, uint64_t expected_us)
{
	uint64_t best = c->best_bytes;

	if (c->lost_fit || expected_us > PATIENCE_US)
		return true;
	if (best == 0 || left_bytes < best)
		c->best_bytes = left_bytes;
	c->tries++;
	return c->tries > PATIENCE_MOST || (c->tries > PATIENCE_LEAST && left_bytes <= best + best / 16);
}

bool convergence_switch(struct convergence *c, const struct convergence_input *in)
{
	uint64_t expected_us = convergence_expected_us(in);
	uint64_t prev = c->prev_bytes;
	bool shrinks = prev == 0 || in->left_bytes < prev / SHRINK_DEN * SHRINK_NUM;

	c->prev_bytes = in->left_bytes;
	if (expected_us > in->limit_us) {
		c->lost_fit = c->fitting > 0 || c->lost_fit;
		c->fitting = 0;
		return false;
	}
	if (expected_us <= FLOOR_US || ++c->fitting > FITTING_MAX)
		return true;
	return !shrinks && good_enough(c, in->left_bytes, expected_us);
}
