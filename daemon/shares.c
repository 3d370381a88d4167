/* SPDX-License-Identifier: Apache-2.0 */
/* The host's bandwidth budget at work. */
#include "daemon/shares.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/budget.h"
#include "daemon/daemon.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "daemon/registry.h"
#include "daemon/timer.h"

/* Two windows of a worker's limit (engine/rate.c). */
#define PERIOD_MS 200U

/* It waited for its limit for so long a part of a period: it could have sent more. */
#define HELD_BACK_PART 8

/* One that settles a handover sends nothing to speak of. */
static bool takes_part(const struct migration *m)
{
	return m && m->direction == WORKER_DIRECTION_OUTGOING && m->worker && migration_running(m) && !m->adopting &&
	       m->mode == WORKER_MODE_FRESH && !m->in_doubt;
}

static void note_now(struct migration *m)
{
	m->share.sent_bytes = stats_get(m->stats, transferred_bytes);
	m->share.limited_us = stats_get(m->stats, limited_us);
}

/* The numbers are the worker's: whatever they are, all it can get by them is its part. */
static void look(struct migration *m, uint64_t period_ns)
{
	uint64_t sent = stats_get(m->stats, transferred_bytes) - m->share.sent_bytes;
	uint64_t limited_us = stats_get(m->stats, limited_us) - m->share.limited_us, used_bps;

	if (!mul_ok(sent, NS_PER_SEC, &used_bps))
		used_bps = UINT64_MAX;
	m->share.wish_bps = budget_wish(m->share.wish_bps, m->share.bps, used_bps / period_ns,
					limited_us > period_ns / NS_PER_US / HELD_BACK_PART);
	note_now(m);
}

/* All that take part; the caller frees them. NULL: none, or no memory. */
static struct budget_claim *gather(const struct daemon *d, size_t *ret_n)
{
	struct budget_claim *claims = calloc(d->registry->n_guests + 1, sizeof(*claims));
	const struct guest *g;

	*ret_n = 0;
	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (claims && takes_part(g->migration))
			claims[(*ret_n)++] = (struct budget_claim){
				.owner = g->migration,
				.weight = budget_weight(g->migration->priority),
				.cap_bps = g->parameters.max_bandwidth,
				.wish_bps = g->migration->share.wish_bps,
			};
	return claims;
}

/* Without a budget nobody has a limit by it. */
static void divide(const struct daemon *d, struct budget_claim *claims, size_t n)
{
	if (d->host.max_bandwidth)
		budget_divide(d->host.max_bandwidth, claims, n);
	else
		for (size_t i = 0; i < n; i++)
			claims[i].share_bps = 0;
}

static bool is_news(const struct budget_claim *claims, size_t n)
{
	const struct migration *m;

	for (size_t i = 0; i < n; i++) {
		m = claims[i].owner;
		if (budget_is_news(m->share.bps, claims[i].share_bps))
			return true;
	}
	return false;
}

/* 0 is the most. */
static bool is_less(uint64_t a, uint64_t b)
{
	return a - 1 < b - 1;
}

/* Those that get less first: together they have no more than the budget at any time. */
static void tell(const struct budget_claim *claims, size_t n, const struct migration *newcomer, bool less)
{
	struct migration *m;

	for (size_t i = 0; i < n; i++) {
		m = claims[i].owner;
		if (m->share.bps == claims[i].share_bps || is_less(claims[i].share_bps, m->share.bps) != less)
			continue;
		m->share.bps = claims[i].share_bps;
		if (m != newcomer)
			link_share(m);
		log_debug("share of the host's bandwidth mig=%s bytes-per-second=%llu", m->id,
			  (unsigned long long)m->share.bps);
	}
}

static void on_period(evutil_socket_t fd, short what, void *opaque);

/* While there is something to share, and somebody to share it. */
static void arm(struct daemon *d, size_t n)
{
	if (d->host.max_bandwidth == 0 || n == 0) {
		d->share_timer = timer_free(d->share_timer);
	} else if (!d->share_timer) {
		d->shared_ns = clock_now_ns();
		d->share_timer = timer_start(d->base, PERIOD_MS, on_period, d);
	}
}

/* All or none are told, so that the sum stays right. FORCED: also small changes. */
static void share_out(struct daemon *d, const struct migration *newcomer, bool forced)
{
	_cleanup_free_ struct budget_claim *claims = NULL;
	size_t n;

	claims = gather(d, &n);
	if (!claims)
		log_warning("cannot divide the host's bandwidth: out of memory");
	if (n > 0)
		divide(d, claims, n);
	if (n > 0 && (forced || is_news(claims, n))) {
		tell(claims, n, newcomer, true);
		tell(claims, n, newcomer, false);
	}
	arm(d, n);
}

static void on_period(evutil_socket_t fd, short what, void *opaque)
{
	struct daemon *d = opaque;
	uint64_t now = clock_now_ns();
	struct guest *g;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (takes_part(g->migration))
			look(g->migration, max_u64(now - d->shared_ns, 1));
	d->share_timer = timer_free(d->share_timer);
	share_out(d, NULL, false);
}

void shares_join(struct migration *m)
{
	m->share.wish_bps = BUDGET_WISH_ALL;
	note_now(m);
	share_out(m->guest->daemon, m, true);
}

void shares_rejoin(struct migration *m)
{
	m->share.wish_bps = BUDGET_WISH_ALL;
	note_now(m);
	share_out(m->guest->daemon, NULL, true);
}

bool shares_of(const struct migration *m, uint64_t *ret_bps)
{
	*ret_bps = m->share.bps;
	return takes_part(m) && m->share.bps != 0;
}

void shares_review(struct daemon *d)
{
	share_out(d, NULL, true);
}

void shares_done(struct daemon *d)
{
	d->share_timer = timer_free(d->share_timer);
}
