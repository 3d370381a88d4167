/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slowing the guest down: in each period the vCPUs run for one slice and are held in the gate for
 * the rest.
 */
#include "guest/internal.h"

#include "base/bytes.h"

/* Short enough that a guest's timers still work, long enough that kicks cost nothing. */
#define THROTTLE_SLICE_NS    (10 * NS_PER_MS)
#define THROTTLE_PERCENT_MAX 99U

static uint64_t period_ns(const struct throttle *t)
{
	return THROTTLE_SLICE_NS * 100 / (100 - t->percent);
}

void throttle_off(struct migd_guest *g)
{
	g->throttle.percent = 0;
	gate_hold(&g->gate, 0);
}

void throttle_set(struct migd_guest *g, unsigned int percent)
{
	if (!percent) {
		throttle_off(g);
		return;
	}
	g->throttle.percent = percent > THROTTLE_PERCENT_MAX ? THROTTLE_PERCENT_MAX : percent;
	g->throttle.next_ns = clock_now_ns();
}

void throttle_tick(struct migd_guest *g, uint64_t now_ns)
{
	struct throttle *t = &g->throttle;

	if (!t->percent || now_ns < t->next_ns)
		return;
	gate_hold(&g->gate, now_ns + period_ns(t) - THROTTLE_SLICE_NS);
	t->next_ns = now_ns + period_ns(t);
}

uint64_t throttle_deadline(const struct migd_guest *g)
{
	return g->throttle.percent ? g->throttle.next_ns : DEADLINE_NONE;
}
