/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about how much a guest dirties (QMP.md 2.3). The library measures and limits; all that is
 * known about it is asked for when it is wanted.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "attach/codec.h"
#include "base/cleanup.h"
#include "daemon/guest.h"
#include "daemon/json.h"
#include "daemon/scope.h"
#include "qmp/server.h"
#include "schema/commands.h"

#define REPLY_TIMEOUT_MS     10000U
#define SAMPLE_PAGES_DEFAULT 512
#define MS_PER_SECOND        1000

/* The schema's modes, which begin at 1 in this order, as the attach protocol's. */
static const uint8_t attach_mode[] = {
	[DIRTY_RATE_MEASURE_MODE_PAGE_SAMPLING] = ATTACH_DIRTY_RATE_SAMPLING,
	[DIRTY_RATE_MEASURE_MODE_DIRTY_RING] = ATTACH_DIRTY_RATE_RING,
	[DIRTY_RATE_MEASURE_MODE_DIRTY_BITMAP] = ATTACH_DIRTY_RATE_BITMAP,
};

/* A command that waits for what the library says. */
struct dirty_call {
	struct qmp_call *call;
	struct guest *guest;
	enum time_unit unit;
	/* calc-dirty-rate */
	int64_t calc_ms;
	int64_t sample_pages;
	bool has_sample_pages;
	enum dirty_rate_measure_mode mode;
};

/* Ask for everything; FN gets a copy of DC to free. Failures are the call's. */
static void query(const struct dirty_call *dc, guest_reply_fn fn)
{
	struct dirty_call *own = malloc(sizeof(*own));
	struct merr err = MERR_INIT;
	int r;

	if (own)
		*own = *dc;
	r = own ? guest_request(dc->guest, ATTACH_DIRTY_QUERY, NULL, 0, NULL, 0, REPLY_TIMEOUT_MS, fn, own,
				&err)
		: merr_set(&err, -ENOMEM, "out of memory");
	if (r < 0) {
		free(own);
		qmp_fail(dc->call, &err);
	}
}

/* The answer, or the reason why there is none. */
static int take_reply(struct rcur *body, const struct merr *failed, struct attach_dirty_query_reply *ret,
		      struct merr *err)
{
	if (failed)
		return merr_copy(err, failed);
	return attach_dirty_query_reply_decode(body, ret, err);
}

static enum time_unit unit_of(bool has, enum time_unit unit)
{
	return has ? unit : TIME_UNIT_SECOND;
}

/* ---- calc-dirty-rate ---- */

static int64_t to_ms(int64_t v, enum time_unit unit)
{
	if (unit == TIME_UNIT_MILLISECOND || v < 0)
		return v;
	return v > INT64_MAX / MS_PER_SECOND ? INT64_MAX : v * MS_PER_SECOND;
}

/* In the order of QMP.md 2.3. */
static int check_calc(const struct dirty_call *dc, const struct attach_dirty_query_reply *now, struct merr *err)
{
	const char *guest = dc->guest->name;

	if (now->status == ATTACH_DIRTY_RATE_MEASURING)
		return merr_set(err, -EBUSY,
				"The dirty rate of guest '%s' is being measured already: see query-dirty-rate",
				guest);
	if (dc->calc_ms < ATTACH_DIRTY_RATE_MS_MIN || dc->calc_ms > ATTACH_DIRTY_RATE_MS_MAX)
		return merr_set(err, -EINVAL, "Parameter 'calc-time' expects a time between %u and %u ms",
				ATTACH_DIRTY_RATE_MS_MIN, ATTACH_DIRTY_RATE_MS_MAX);
	if (dc->has_sample_pages && dc->mode != DIRTY_RATE_MEASURE_MODE_PAGE_SAMPLING)
		return merr_set(err, -EINVAL, "Parameter 'sample-pages' is for mode page-sampling, not for '%s'",
				dirty_rate_measure_mode_str(dc->mode));
	if (dc->sample_pages < ATTACH_SAMPLE_PAGES_MIN || dc->sample_pages > ATTACH_SAMPLE_PAGES_MAX)
		return merr_set(err, -EINVAL,
				"Parameter 'sample-pages' expects a value between %u and %u pages for each GiB",
				ATTACH_SAMPLE_PAGES_MIN, ATTACH_SAMPLE_PAGES_MAX);
	if (dc->mode == DIRTY_RATE_MEASURE_MODE_DIRTY_RING && !now->has_ring)
		return merr_set(err, -ENOTSUP,
				"Mode dirty-ring needs KVM's dirty ring, which guest '%s' was started without: "
				"use dirty-bitmap instead",
				guest);
	if (dc->mode == DIRTY_RATE_MEASURE_MODE_DIRTY_BITMAP && now->has_ring)
		return merr_set(err, -ENOTSUP,
				"Mode dirty-bitmap needs KVM's dirty log, in whose place guest '%s' has a dirty "
				"ring: use dirty-ring instead",
				guest);
	return 0;
}

static int send_calc(const struct dirty_call *dc, struct merr *err)
{
	struct attach_dirty_rate req = {
		.mode = attach_mode[dc->mode],
		.calc_ms = (uint32_t)dc->calc_ms,
		.sample_pages = dc->mode == DIRTY_RATE_MEASURE_MODE_PAGE_SAMPLING
					? (uint32_t)dc->sample_pages
					: 0,
	};
	uint8_t bytes[32];
	struct wcur w = wcur_of(bytes, sizeof(bytes));

	(void)attach_dirty_rate_encode(&w, &req);
	return guest_request(dc->guest, ATTACH_DIRTY_RATE, bytes, w.len, NULL, 0, REPLY_TIMEOUT_MS, scope_answer,
			     dc->call, err);
}

static void on_queried_for_calc(void *opaque, struct rcur *body, const struct merr *failed)
{
	_cleanup_free_ struct dirty_call *dc = opaque;
	struct attach_dirty_query_reply now = { 0 };
	struct merr err = MERR_INIT;
	int r = take_reply(body, failed, &now, &err);

	if (r == 0)
		r = check_calc(dc, &now, &err);
	if (r == 0)
		r = send_calc(dc, &err);
	if (r < 0)
		qmp_fail(dc->call, &err);
}

void cmd_calc_dirty_rate(struct qmp_call *call, const struct calc_dirty_rate_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct dirty_call dc = {
		.call = call,
		.guest = g,
		.calc_ms = to_ms(args->calc_time, unit_of(args->has_calc_time_unit, args->calc_time_unit)),
		.has_sample_pages = args->has_sample_pages,
		.sample_pages = args->has_sample_pages ? args->sample_pages : SAMPLE_PAGES_DEFAULT,
		.mode = args->has_mode ? args->mode : DIRTY_RATE_MEASURE_MODE_PAGE_SAMPLING,
	};

	if (g)
		query(&dc, on_queried_for_calc);
}

/* ---- query-dirty-rate ---- */

static enum dirty_rate_measure_mode mode_of(uint8_t mode)
{
	for (int i = 1; i < DIRTY_RATE_MEASURE_MODE__MAX; i++)
		if (attach_mode[i] == mode)
			return (enum dirty_rate_measure_mode)i;
	return DIRTY_RATE_MEASURE_MODE_PAGE_SAMPLING;
}

static enum dirty_rate_status status_of(uint8_t status)
{
	switch (status) {
	case ATTACH_DIRTY_RATE_MEASURING:
		return DIRTY_RATE_STATUS_MEASURING;
	case ATTACH_DIRTY_RATE_MEASURED:
		return DIRTY_RATE_STATUS_MEASURED;
	default:
		return DIRTY_RATE_STATUS_UNSTARTED;
	}
}

/* Each vCPU's row, N of them; the caller frees. */
static int take_vcpus(const struct attach_dirty_query_reply *rep, struct attach_vcpu_dirty **ret,
		      struct merr *err)
{
	_cleanup_free_ struct attach_vcpu_dirty *rows = NULL;
	struct rcur c = rcur_of(rep->vcpus.data, rep->vcpus.len);
	int r = 0;

	/* As many as there are bytes for. */
	if (rep->n > rep->vcpus.len)
		return merr_set(err, -EBADMSG, "DIRTY_QUERY: field 'n': %" PRIu32 " rows in %" PRIu32 " bytes",
				rep->n, rep->vcpus.len);
	rows = calloc(rep->n ? rep->n : 1, sizeof(*rows));
	if (!rows)
		return merr_set(err, -ENOMEM, "out of memory");
	for (uint32_t i = 0; r == 0 && i < rep->n; i++)
		r = attach_vcpu_dirty_decode(&c, &rows[i], err);
	if (r == 0)
		r = attach_decode_end(&c, err);
	if (r == 0)
		*ret = TAKE_PTR(rows);
	return r;
}

static int describe_vcpus(const struct attach_dirty_query_reply *rep, struct dirty_rate_info *info,
			  struct merr *err)
{
	_cleanup_free_ struct attach_vcpu_dirty *rows = NULL;
	int r = take_vcpus(rep, &rows, err);

	if (r != 0)
		return r;
	info->vcpu_dirty_rate = calloc(rep->n ? rep->n : 1, sizeof(*info->vcpu_dirty_rate));
	if (!info->vcpu_dirty_rate)
		return merr_set(err, -ENOMEM, "out of memory");
	info->has_vcpu_dirty_rate = true;
	for (uint32_t i = 0; i < rep->n; i++)
		info->vcpu_dirty_rate[info->n_vcpu_dirty_rate++] =
			(struct dirty_rate_vcpu){ .id = i, .dirty_rate = (int64_t)rows[i].rate_mib };
	return 0;
}

static int describe(const struct attach_dirty_query_reply *rep, enum time_unit unit,
		    struct dirty_rate_info *ret, struct merr *err)
{
	struct dirty_rate_info info = {
		.status = status_of(rep->status),
		.start_time = (int64_t)rep->start_time_s,
		.calc_time = unit == TIME_UNIT_SECOND ? rep->calc_ms / MS_PER_SECOND : rep->calc_ms,
		.calc_time_unit = unit,
		.sample_pages = rep->sample_pages,
		.mode = mode_of(rep->mode),
	};
	int r = 0;

	if (info.status == DIRTY_RATE_STATUS_MEASURED) {
		info.has_dirty_rate = true;
		info.dirty_rate = (int64_t)rep->rate_mib;
		if (info.mode == DIRTY_RATE_MEASURE_MODE_DIRTY_RING)
			r = describe_vcpus(rep, &info, err);
	}
	if (r < 0)
		dirty_rate_info_done(&info);
	else
		*ret = info;
	return r;
}

static void on_queried_rate(void *opaque, struct rcur *body, const struct merr *failed)
{
	_cleanup_free_ struct dirty_call *dc = opaque;
	struct attach_dirty_query_reply rep = { 0 };
	struct dirty_rate_info info;
	struct merr err = MERR_INIT;
	int r = take_reply(body, failed, &rep, &err);

	if (r == 0)
		r = describe(&rep, dc->unit, &info, &err);
	if (r < 0) {
		qmp_fail(dc->call, &err);
		return;
	}
	qmp_return(dc->call, dirty_rate_info_to_json(&info));
	dirty_rate_info_done(&info);
}

void cmd_query_dirty_rate(struct qmp_call *call, const struct query_dirty_rate_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);

	if (g)
		query(&(struct dirty_call){ .call = call,
					    .guest = g,
					    .unit = unit_of(args->has_calc_time_unit,
							    args->calc_time_unit) },
		      on_queried_rate);
}

/* ---- limits ---- */

static void limit(struct qmp_call *call, struct guest *g, bool has_index, int64_t index, uint64_t mib)
{
	struct attach_dirty_limit req = {
		.vcpu = has_index ? (uint32_t)index : ATTACH_ALL_VCPUS,
		.limit_mib = mib,
		.period_ms = (uint32_t)g->parameters.x_vcpu_dirty_limit_period,
	};
	uint8_t bytes[32];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct merr err = MERR_INIT;
	int r = 0;

	if (has_index && (index < 0 || index >= (int64_t)g->n_vcpus))
		r = merr_set(&err, -EINVAL, "Parameter 'cpu-index' expects a value between 0 and %" PRIu32,
			     g->n_vcpus - 1);
	(void)attach_dirty_limit_encode(&w, &req);
	if (r == 0)
		r = guest_request(g, ATTACH_DIRTY_LIMIT, bytes, w.len, NULL, 0, REPLY_TIMEOUT_MS, scope_answer, call,
				  &err);
	if (r < 0)
		qmp_fail(call, &err);
}

void cmd_set_vcpu_dirty_limit(struct qmp_call *call, const struct set_vcpu_dirty_limit_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct merr err = MERR_INIT;

	if (!g)
		return;
	if (!g->has_dirty_ring) {
		(void)merr_set(&err, -ENOTSUP,
			       "A dirty limit needs KVM's dirty ring, which guest '%s' was started without",
			       g->name);
		qmp_fail(call, &err);
		return;
	}
	limit(call, g, args->has_cpu_index, args->cpu_index, args->dirty_rate);
}

void cmd_cancel_vcpu_dirty_limit(struct qmp_call *call, const struct cancel_vcpu_dirty_limit_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);

	if (!g)
		return;
	if (g->has_dirty_ring)
		limit(call, g, args->has_cpu_index, args->cpu_index, 0);
	else
		qmp_return(call, NULL);
}

static json_t *list_limits(const struct attach_vcpu_dirty *rows, uint32_t n)
{
	json_t *list = json_array();

	assert(rows || n == 0);
	for (uint32_t i = 0; i < n; i++) {
		struct dirty_limit_info info = { .cpu_index = i,
						 .limit_rate = rows[i].limit_mib,
						 .current_rate = rows[i].current_mib };

		if (rows[i].limit_mib)
			(void)json_array_append_new(list, dirty_limit_info_to_json(&info));
	}
	return list;
}

static void on_queried_limits(void *opaque, struct rcur *body, const struct merr *failed)
{
	_cleanup_free_ struct dirty_call *dc = opaque;
	_cleanup_free_ struct attach_vcpu_dirty *rows = NULL;
	struct attach_dirty_query_reply rep = { 0 };
	struct merr err = MERR_INIT;
	int r = take_reply(body, failed, &rep, &err);

	if (r == 0)
		r = take_vcpus(&rep, &rows, &err);
	if (r < 0)
		qmp_fail(dc->call, &err);
	else
		qmp_return(dc->call, list_limits(rows, rep.n));
}

void cmd_query_vcpu_dirty_limit(struct qmp_call *call, const struct query_vcpu_dirty_limit_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);

	if (g)
		query(&(struct dirty_call){ .call = call, .guest = g }, on_queried_limits);
}
