/* SPDX-License-Identifier: Apache-2.0 */
/* How much each vCPU may dirty in a second, kept by its dirty ring. */
#include "guest/dirty-limit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/dispatch.h"

/* Often enough that holds are short, seldom enough that re-protecting the pages costs little. */
#define HARVEST_NS (50 * NS_PER_MS)
/* As with a throttle of 99 percent. */
#define COST_PER_TIME_MAX 99U
/* A harvest right after a hold: it ran for a moment, at least. */
#define RAN_MIN_NS NS_PER_MS
#define PERIOD_DEFAULT_MS 1000U
#define PERIOD_MAX_MS     60000U

uint64_t dirty_limit_charge(uint64_t paid_ns, uint64_t last_ns, uint64_t now_ns, uint64_t n_pages,
			    uint64_t limit_bps)
{
	uint64_t from = max_u64(paid_ns, last_ns);
	uint64_t ran = max_u64(now_ns > from ? now_ns - from : 0, RAN_MIN_NS);
	double cost = (double)n_pages * DIRTY_PAGE_SIZE * (double)NS_PER_SEC / (double)limit_bps;
	double most = (double)ran * (COST_PER_TIME_MAX + 1);

	return from + (uint64_t)(cost < most ? cost : most);
}

/* ---- keeping it ---- */

uint64_t dirty_limit_deadline(const struct migd_guest *g)
{
	return g->limit.vcpus ? g->limit.next_ns : DEADLINE_NONE;
}

static void hold_spenders(struct migd_guest *g, uint64_t now_ns)
{
	struct migd_guest_vcpu *v;
	uint64_t until;

	for (size_t i = 0; i < g->gate.n_vcpus; i++) {
		v = g->gate.vcpus[i];
		if (!v->ring || !__atomic_load_n(&v->ring->limit_bps, __ATOMIC_RELAXED))
			continue;
		until = dirty_ring_paid_ns(v->ring);
		if (until > now_ns && until > __atomic_load_n(&v->hold_until_ns, __ATOMIC_RELAXED))
			gate_hold_vcpu(v, until, true);
	}
}

static void measure_vcpu(struct dirty_limit_vcpu *s, struct migd_guest_vcpu *v, uint64_t span_ns)
{
	uint64_t entries = dirty_ring_harvested(v->ring);
	uint64_t held = __atomic_load_n(&v->held_ns, __ATOMIC_RELAXED);
	uint64_t fresh = entries - s->entries;

	s->rate_mib = dirty_rate_mib(fresh, span_ns);
	s->recent_entries = s->recent_entries / 2 + fresh;
	s->recent_held_ns = s->recent_held_ns / 2 + (held - s->held_ns);
	s->entries = entries;
	s->held_ns = held;
}

/* A period is over. */
static void measure(struct migd_guest *g, uint64_t now_ns)
{
	struct dirty_limit *l = &g->limit;
	uint64_t span_ns = now_ns - l->period_start_ns, recent = 0, ring = 0;
	struct dirty_limit_vcpu *s;

	l->throttle_us = l->ring_full_us = 0;
	for (size_t i = 0; i < g->gate.n_vcpus; i++) {
		struct migd_guest_vcpu *v = g->gate.vcpus[i];

		s = &l->vcpus[i];
		measure_vcpu(s, v, span_ns);
		recent += s->recent_entries;
		ring = v->ring->n_entries;
		if (s->limit_mib && s->recent_entries)
			l->throttle_us = max_u64(l->throttle_us, s->recent_held_ns / NS_PER_US *
									 ring / s->recent_entries);
	}
	/* `recent` is worth two periods: each half as much as the one after it. */
	if (recent)
		l->ring_full_us = 2 * span_ns / NS_PER_US * ring * g->gate.n_vcpus / recent;
	l->period_start_ns = now_ns;
}

void dirty_limit_tick(struct migd_guest *g, uint64_t now_ns)
{
	struct dirty_limit *l = &g->limit;
	struct merr err = MERR_INIT;

	if (!l->vcpus || now_ns < l->next_ns)
		return;
	l->next_ns = now_ns + HARVEST_NS;
	if (dirty_rings_harvest(&g->dirty, &g->gate, &err) < 0) {
		guest_log(g, 4, "the vCPUs' dirty limit is not kept: %s", merr_msg(&err));
		return;
	}
	hold_spenders(g, now_ns);
	if (now_ns - l->period_start_ns >= l->period_ns)
		measure(g, now_ns);
}

/* ---- setting it ---- */

static bool any_limit(const struct migd_guest *g)
{
	for (size_t i = 0; i < g->gate.n_vcpus; i++)
		if (g->limit.vcpus[i].limit_mib)
			return true;
	return false;
}

static int begin(struct migd_guest *g, struct merr *err)
{
	struct dirty_limit *l = &g->limit;
	uint64_t now = clock_now_ns();
	int r;

	l->vcpus = calloc(g->gate.n_vcpus, sizeof(*l->vcpus));
	if (!l->vcpus)
		return merr_set(err, -ENOMEM, "dirty limit: no memory");
	r = dirty_log_get(&g->dirty, &g->gate, DIRTY_USER_LIMIT, err);
	if (r < 0) {
		free(TAKE_PTR(l->vcpus));
		return r;
	}
	for (size_t i = 0; i < g->gate.n_vcpus; i++) {
		l->vcpus[i].entries = dirty_ring_harvested(g->gate.vcpus[i]->ring);
		l->vcpus[i].held_ns = __atomic_load_n(&g->gate.vcpus[i]->held_ns, __ATOMIC_RELAXED);
	}
	l->period_start_ns = now;
	l->next_ns = now + HARVEST_NS;
	return 0;
}

static void end(struct migd_guest *g)
{
	free(TAKE_PTR(g->limit.vcpus));
	g->limit = (struct dirty_limit){ 0 };
	dirty_log_put(&g->dirty, &g->gate, DIRTY_USER_LIMIT);
}

static void limit_vcpu(struct migd_guest *g, size_t i, uint64_t limit_mib)
{
	struct migd_guest_vcpu *v = g->gate.vcpus[i];
	uint64_t bps = limit_mib > UINT64_MAX / MIB ? UINT64_MAX : limit_mib * MIB;

	g->limit.vcpus[i].limit_mib = limit_mib;
	__atomic_store_n(&v->ring->limit_bps, bps, __ATOMIC_RELAXED);
	dirty_ring_forgive(v->ring);
	gate_hold_vcpu(v, 0, false);
}

static void apply(struct migd_guest *g, const struct attach_dirty_limit *req)
{
	for (size_t i = 0; i < g->gate.n_vcpus; i++)
		if (req->vcpu == ATTACH_ALL_VCPUS || req->vcpu == g->gate.vcpus[i]->index)
			limit_vcpu(g, i, req->limit_mib);
}

static int check_vcpu(const struct migd_guest *g, uint32_t vcpu, struct merr *err)
{
	if (vcpu == ATTACH_ALL_VCPUS)
		return 0;
	for (size_t i = 0; i < g->gate.n_vcpus; i++)
		if (g->gate.vcpus[i]->index == vcpu)
			return 0;
	return merr_set(err, -EINVAL, "there is no vCPU %" PRIu32 "; there are %zu, from 0 on", vcpu,
			g->gate.n_vcpus);
}

int dirty_limit_set(struct migd_guest *g, const struct attach_dirty_limit *req, bool by_migration,
		    struct merr *err)
{
	uint32_t period_ms = req->period_ms ? req->period_ms : PERIOD_DEFAULT_MS;
	int r;

	if (g->dirty.engine != DIRTY_RING)
		return merr_set(err, -EOPNOTSUPP,
				"a dirty limit needs KVM's dirty ring, which this VM was made without");
	r = check_vcpu(g, req->vcpu, err);
	if (r < 0)
		return r;
	if (g->limit.by_migration && !by_migration)
		return merr_set(err, -EBUSY,
				"the migration under way limits the vCPUs; the parameter "
				"vcpu-dirty-limit is how much");
	if (!g->limit.vcpus) {
		if (!req->limit_mib)
			return 0;
		r = begin(g, err);
		if (r < 0)
			return r;
	}
	g->limit.by_migration = by_migration;
	g->limit.period_ns = min_u64(period_ms, PERIOD_MAX_MS) * NS_PER_MS;
	apply(g, req);
	if (!any_limit(g))
		end(g);
	return 0;
}

void dirty_limit_undo(struct migd_guest *g)
{
	const struct attach_dirty_limit none = { .vcpu = ATTACH_ALL_VCPUS };

	if (g->limit.by_migration)
		(void)dirty_limit_set(g, &none, true, NULL);
}

void dirty_limit_free(struct migd_guest *g)
{
	free(TAKE_PTR(g->limit.vcpus));
}

/* ---- messages ---- */

int handle_dirty_limit(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_dirty_limit req;

	if (CALL_DECODE(c, dirty_limit, &req, err) < 0)
		return -EBADMSG;
	return dirty_limit_set(g, &req, false, err);
}

int handle_mig_dirty_limit(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_dirty_limit req;
	int r;

	if (CALL_DECODE(c, dirty_limit, &req, err) < 0)
		return -EBADMSG;
	r = dirty_limit_set(g, &req, true, err);
	if (r >= 0)
		undo_push(&g->mig.undo, dirty_limit_undo);
	return r;
}

int handle_mig_dirty_limit_stats(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_empty req;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	return CALL_REPLY(c, mig_dirty_limit_reply, .throttle_us = g->limit.throttle_us,
			  .ring_full_us = g->limit.ring_full_us);
}
