/* SPDX-License-Identifier: Apache-2.0 */
/* The host's bandwidth, divided. */
#include "daemon/budget.h"

#include <stdlib.h>

#include "base/bytes.h"

#define KEPT_PART 8	/* 1/8 of its part stays with one that does not use it; 1/8 of the budget feeds the lightest */
#define NEWS_PART 16	/* a change of less than 1/16 is none */

uint32_t budget_weight(int priority)
{
	return 1U << (priority - PRIORITY_MIN);
}

/* V * NUM / DEN, where NUM is at most DEN. */
static uint64_t part(uint64_t v, uint64_t num, uint64_t den)
{
	return (uint64_t)((unsigned __int128)v * num / den);
}

static uint64_t add_up_to_max(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return add_ok(a, b, &sum) ? sum : UINT64_MAX;
}

/* By room a unit of weight: who is full first comes first. */
static int compare_rooms(const void *a, const void *b)
{
	const struct budget_claim *x = a, *y = b;
	unsigned __int128 l = (unsigned __int128)x->room_bps * y->weight;
	unsigned __int128 r = (unsigned __int128)y->room_bps * x->weight;

	return (l > r) - (l < r);
}

static uint64_t total_weight(const struct budget_claim *claims, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += claims[i].weight;
	return sum;
}

/* Pour LEFT_BPS over the claims, by weight, none above its room. Returns what found no room. */
static uint64_t pour(uint64_t left_bps, struct budget_claim *claims, size_t n)
{
	uint64_t weight = total_weight(claims, n), bps;

	qsort(claims, n, sizeof(*claims), compare_rooms);
	for (size_t i = 0; i < n; i++) {
		/* In this order, none that comes later is full with less a unit of weight than this one. */
		bps = min_u64(claims[i].room_bps, part(left_bps, claims[i].weight, weight));
		claims[i].share_bps += bps;
		left_bps -= bps;
		weight -= claims[i].weight;
	}
	return left_bps;
}

/* So much weight has each at least that its part is large enough to live on. */
static void feed_the_lightest(uint64_t budget_bps, struct budget_claim *claims, size_t n)
{
	uint64_t least_bps = min_u64(BUDGET_LEAST_BPS, budget_bps / KEPT_PART / n);
	uint64_t least = part(total_weight(claims, n), least_bps, budget_bps);

	for (size_t i = 0; i < n; i++)
		claims[i].weight = (uint32_t)max_u64(claims[i].weight, least);
}

void budget_divide(uint64_t budget_bps, struct budget_claim *claims, size_t n)
{
	uint64_t weight, least, left;
	struct budget_claim *c;

	if (n == 0)
		return;
	feed_the_lightest(budget_bps, claims, n);
	weight = total_weight(claims, n);
	for (c = claims; c < claims + n; c++) {
		least = part(budget_bps, c->weight, weight) / KEPT_PART;
		c->share_bps = 0;
		c->room_bps = min_u64(max_u64(c->wish_bps, least), c->cap_bps ? c->cap_bps : UINT64_MAX);
	}
	left = pour(budget_bps, claims, n);
	/* More than all wish: it is theirs as well, should they come to wish it. */
	for (c = claims; c < claims + n; c++)
		c->room_bps = (c->cap_bps ? c->cap_bps : UINT64_MAX) - c->share_bps;
	(void)pour(left, claims, n);
	for (c = claims; c < claims + n; c++)
		c->share_bps = max_u64(c->share_bps, 1);
}

uint64_t budget_wish(uint64_t wish_before_bps, uint64_t share_bps, uint64_t used_bps, bool held_back)
{
	uint64_t before = min_u64(wish_before_bps, share_bps);

	if (held_back)
		return BUDGET_WISH_ALL;
	return max_u64(add_up_to_max(used_bps, used_bps / 4), before - before / 4);
}

bool budget_is_news(uint64_t before_bps, uint64_t after_bps)
{
	uint64_t change = before_bps > after_bps ? before_bps - after_bps : after_bps - before_bps;

	if (before_bps == 0 || after_bps == 0)
		return before_bps != after_bps;
	return change > before_bps / NEWS_PART;
}
