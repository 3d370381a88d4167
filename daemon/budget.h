/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's bandwidth, divided among its migrations (docs/host-limits.md): weighted max-min fairness. Each gets what it
 * would use, but no more than its part by weight; what some do not use is divided among the others in the same way. Pure
 * arithmetic; all numbers are bytes per second.
 */
#ifndef MIGD_DAEMON_BUDGET_H
#define MIGD_DAEMON_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of `migrate`. One step doubles the weight. */
#define PRIORITY_MIN (-8)
#define PRIORITY_MAX 8

/* It takes whatever it gets. */
#define BUDGET_WISH_ALL UINT64_MAX

/* With less a migration would only wait for its limit, until its peer believes that it is dead. */
#define BUDGET_LEAST_BPS (64 * 1024)

struct budget_claim {
	void *owner;	    /* the caller's */
	uint32_t weight;    /* from 1 on */
	uint64_t cap_bps;   /* its own limit; 0: none */
	uint64_t wish_bps;  /* what it would use, as far as is known */
	uint64_t share_bps; /* the result; at least 1, since 0 would be no limit */
	uint64_t room_bps;  /* budget_divide()'s own */
};

/* PRIORITY is in range. */
uint32_t budget_weight(int priority);

/*
 * Divide BUDGET_BPS (not 0). The shares' sum is at most the budget (if that has a byte for each), and all of it unless their
 * own caps are lower. One that wishes less than its part keeps an eighth of that part at least, so that it is seen when it
 * begins to want more. A part is not smaller than about BUDGET_LEAST_BPS, whatever the weights, as long as that takes an
 * eighth of the budget at most. CLAIMS come back in another order, and with other weights.
 */
void budget_divide(uint64_t budget_bps, struct budget_claim *claims, size_t n);

/*
 * What a migration wishes after a period in which it used USED_BPS of SHARE_BPS. HELD_BACK: it waited for its limit, and
 * so wants all it can get, at once. Otherwise a quarter more than it used; a wish that falls does so by a quarter a period.
 */
uint64_t budget_wish(uint64_t wish_before_bps, uint64_t share_bps, uint64_t used_bps, bool held_back);

/* Whether a share that is now BEFORE_BPS should be told to be AFTER_BPS: small changes are not worth it. 0: no limit. */
bool budget_is_news(uint64_t before_bps, uint64_t after_bps);

#endif
