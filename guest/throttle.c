/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slowing the guest down: the vCPUs run for a slice and are then held in the gate for so long that
 * the slice is their share. A slice may turn out longer, when this thread is late or busy: then so
 * is the hold that follows. A pause ends a hold at once (gate_hold()).
 */
#include "guest/internal.h"

#include "base/bytes.h"

/* Short enough that a guest's timers still work, long enough that kicks cost nothing. */
#define THROTTLE_SLICE_NS    (10 * NS_PER_MS)
#define THROTTLE_PERCENT_MAX 99U
/* A guest is not made to pay for more than this at once: at 99 percent, a hold of four seconds. */
#define THROTTLE_SLICE_MAX_NS (4 * THROTTLE_SLICE_NS)

uint64_t throttle_hold_ns(unsigned int percent, uint64_t ran_ns)
{
	return min_u64(ran_ns, THROTTLE_SLICE_MAX_NS) * percent / (100 - percent);
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
	if (!g->throttle.percent) {
		g->throttle.running_since_ns = clock_now_ns();
		g->throttle.next_ns = g->throttle.running_since_ns + THROTTLE_SLICE_NS;
	}
	g->throttle.percent = percent > THROTTLE_PERCENT_MAX ? THROTTLE_PERCENT_MAX : percent;
}

void throttle_tick(struct migd_guest *g, uint64_t now_ns)
{
	struct throttle *t = &g->throttle;

	if (!t->percent || now_ns < t->next_ns)
		return;
	t->running_since_ns = now_ns + throttle_hold_ns(t->percent, now_ns - t->running_since_ns);
	t->next_ns = t->running_since_ns + THROTTLE_SLICE_NS;
	gate_hold(&g->gate, t->running_since_ns);
}

uint64_t throttle_deadline(const struct migd_guest *g)
{
	return g->throttle.percent ? g->throttle.next_ns : DEADLINE_NONE;
}
