/* SPDX-License-Identifier: Apache-2.0 */
/* How much the guest dirties: the course of a measurement, and the messages about it. */
#include "guest/dirty-rate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "guest/dispatch.h"

static const struct {
	int (*prepare)(struct migd_guest *g, struct merr *err);
	int (*count)(struct migd_guest *g, uint64_t *ret_pages, struct merr *err);
} modes[] = {
	[ATTACH_DIRTY_RATE_SAMPLING] = { dirty_sample_prepare, dirty_sample_count },
	[ATTACH_DIRTY_RATE_RING] = { dirty_rings_prepare, dirty_rings_count },
	[ATTACH_DIRTY_RATE_BITMAP] = { dirty_bitmap_prepare, dirty_bitmap_count },
};

/* ---- the course ---- */

/* The measurement is over; what it leaves is the result. */
static void finish(struct migd_guest *g, enum attach_dirty_rate_status status)
{
	struct dirty_rate *m = &g->rate;

	m->phase = DIRTY_RATE_IDLE;
	m->status = status;
	free(TAKE_PTR(m->samples));
	free(TAKE_PTR(m->bits));
	m->n_samples = 0;
	if (status != ATTACH_DIRTY_RATE_MEASURED)
		free(TAKE_PTR(m->vcpus));
	dirty_log_put(&g->dirty, &g->gate, DIRTY_USER_RATE);
}

static void fail(struct migd_guest *g, const struct merr *err)
{
	guest_log(g, 4, "the dirty rate was not measured: %s", merr_msg(err));
	finish(g, ATTACH_DIRTY_RATE_UNSTARTED);
}

static void prepare(struct migd_guest *g)
{
	struct dirty_rate *m = &g->rate;
	struct merr err = MERR_INIT;
	int r = modes[m->req.mode].prepare(g, &err);

	if (r < 0) {
		fail(g, &err);
	} else if (r > 0) {
		m->phase = DIRTY_RATE_WAIT;
		m->began_ns = clock_now_ns();
		m->until_ns = m->began_ns + m->req.calc_ms * NS_PER_MS;
	}
}

static void begin_count(struct migd_guest *g)
{
	g->rate.phase = DIRTY_RATE_COUNT;
	g->rate.ended_ns = clock_now_ns();
	g->rate.at = 0;
}

static void count(struct migd_guest *g)
{
	struct dirty_rate *m = &g->rate;
	struct merr err = MERR_INIT;
	uint64_t pages = 0;
	int r = modes[m->req.mode].count(g, &pages, &err);

	if (r < 0) {
		fail(g, &err);
	} else if (r > 0) {
		m->rate_mib = dirty_rate_mib(pages, m->ended_ns - m->began_ns);
		finish(g, ATTACH_DIRTY_RATE_MEASURED);
	}
}

void dirty_rate_tick(struct migd_guest *g, uint64_t now_ns)
{
	switch (g->rate.phase) {
	case DIRTY_RATE_IDLE:
		return;
	case DIRTY_RATE_PREPARE:
		prepare(g);
		return;
	case DIRTY_RATE_WAIT:
		if (now_ns >= g->rate.until_ns)
			begin_count(g);
		return;
	case DIRTY_RATE_COUNT:
		count(g);
	}
}

uint64_t dirty_rate_deadline(const struct migd_guest *g)
{
	switch (g->rate.phase) {
	case DIRTY_RATE_IDLE:
		return DEADLINE_NONE;
	case DIRTY_RATE_WAIT:
		return g->rate.until_ns;
	default:
		return 0;
	}
}

void dirty_rate_yield(struct migd_guest *g)
{
	struct dirty_rate *m = &g->rate;

	if (m->phase == DIRTY_RATE_IDLE || m->req.mode != ATTACH_DIRTY_RATE_BITMAP)
		return;
	if (m->phase == DIRTY_RATE_PREPARE) {
		guest_log(g, 5, "a migration ends the measurement of the dirty rate before it began");
		finish(g, ATTACH_DIRTY_RATE_UNSTARTED);
		return;
	}
	begin_count(g);
	count(g);
}

void dirty_rate_free(struct migd_guest *g)
{
	free(TAKE_PTR(g->rate.samples));
	free(TAKE_PTR(g->rate.bits));
	free(TAKE_PTR(g->rate.vcpus));
}

/* ---- starting one ---- */

static int check(const struct migd_guest *g, const struct attach_dirty_rate *req, struct merr *err)
{
	bool ring = g->dirty.engine == DIRTY_RING;

	if (g->rate.phase != DIRTY_RATE_IDLE)
		return merr_set(err, -EBUSY, "the dirty rate is being measured already");
	if (req->mode < ATTACH_DIRTY_RATE_SAMPLING || req->mode > ATTACH_DIRTY_RATE_BITMAP)
		return merr_set(err, -EINVAL, "DIRTY_RATE: field 'mode': %u", req->mode);
	if (req->calc_ms < ATTACH_DIRTY_RATE_MS_MIN || req->calc_ms > ATTACH_DIRTY_RATE_MS_MAX)
		return merr_set(err, -EINVAL, "DIRTY_RATE: field 'calc_ms': %" PRIu32, req->calc_ms);
	if (req->mode == ATTACH_DIRTY_RATE_SAMPLING &&
	    (req->sample_pages < ATTACH_SAMPLE_PAGES_MIN ||
	     req->sample_pages > ATTACH_SAMPLE_PAGES_MAX))
		return merr_set(err, -EINVAL, "DIRTY_RATE: field 'sample_pages': %" PRIu32,
				req->sample_pages);
	if (req->mode == ATTACH_DIRTY_RATE_SAMPLING && uffd_is_open(g))
		return merr_set(err, -EBUSY, "pages of the guest are still to come: sampling would wait for them");
	if (req->mode == ATTACH_DIRTY_RATE_RING && !ring)
		return merr_set(err, -EOPNOTSUPP, "this VM has no dirty ring");
	if (req->mode == ATTACH_DIRTY_RATE_BITMAP && ring)
		return merr_set(err, -EOPNOTSUPP, "this VM has a dirty ring instead of a dirty log");
	if (req->mode == ATTACH_DIRTY_RATE_BITMAP && dirty_is_tracking(&g->dirty))
		return merr_set(err, -EBUSY,
				"a migration uses KVM's dirty log: its dirty-pages-rate says the same; "
				"or take page-sampling");
	return 0;
}

int dirty_rate_start(struct migd_guest *g, const struct attach_dirty_rate *req, struct merr *err)
{
	int r = check(g, req, err);

	if (r < 0)
		return r;
	dirty_rate_free(g);
	g->rate = (struct dirty_rate){
		.phase = DIRTY_RATE_PREPARE,
		.status = ATTACH_DIRTY_RATE_MEASURING,
		.req = *req,
		.start_time_s = (uint64_t)time(NULL),
	};
	return 0;
}

/* ---- messages ---- */

int handle_dirty_rate(struct migd_guest *g, struct call *c, struct merr *err)
{
	struct attach_dirty_rate req;

	if (CALL_DECODE(c, dirty_rate, &req, err) < 0)
		return -EBADMSG;
	return dirty_rate_start(g, &req, err);
}

static void put_vcpus(const struct migd_guest *g, struct wcur *w)
{
	const struct dirty_limit_vcpu *l = g->limit.vcpus;
	bool measured = g->rate.status == ATTACH_DIRTY_RATE_MEASURED && g->rate.vcpus;

	for (size_t i = 0; i < g->gate.n_vcpus; i++)
		(void)attach_vcpu_dirty_encode(w, &(const struct attach_vcpu_dirty){
							  .rate_mib = measured ? g->rate.vcpus[i] : 0,
							  .limit_mib = l ? l[i].limit_mib : 0,
							  .current_mib = l ? l[i].rate_mib : 0,
						  });
}

int handle_dirty_query(struct migd_guest *g, struct call *c, struct merr *err)
{
	const struct dirty_rate *m = &g->rate;
	size_t len = g->gate.n_vcpus * sizeof(struct attach_vcpu_dirty);
	_cleanup_free_ uint8_t *bytes = malloc(max_u64(len, 1));
	struct attach_empty req;
	struct wcur w;

	if (CALL_DECODE(c, empty, &req, err) < 0)
		return -EBADMSG;
	if (!bytes)
		return merr_set(err, -ENOMEM, "DIRTY_QUERY: no memory");
	w = wcur_of(bytes, len);
	put_vcpus(g, &w);
	return CALL_REPLY(c, dirty_query_reply, .has_ring = g->dirty.engine == DIRTY_RING,
			  .status = (uint8_t)(m->status ? m->status : ATTACH_DIRTY_RATE_UNSTARTED),
			  .mode = m->req.mode ? m->req.mode : ATTACH_DIRTY_RATE_SAMPLING,
			  .start_time_s = m->start_time_s, .calc_ms = m->req.calc_ms,
			  .sample_pages = m->req.sample_pages, .rate_mib = m->rate_mib,
			  .n = (uint32_t)g->gate.n_vcpus,
			  .vcpus = { .data = bytes, .len = (uint32_t)w.len });
}
