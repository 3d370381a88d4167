/* SPDX-License-Identifier: Apache-2.0 */
/* query-migrate: what is there when (QMP.md 2.2), and how the numbers come about (QMP.md 9). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/address.h"
#include "daemon/daemon.h"
#include "daemon/decisions.h"
#include "daemon/guest.h"
#include "daemon/listeners.h"
#include "daemon/migration.h"
#include "daemon/postcopy-info.h"
#include "daemon/preflight.h"
#include "daemon/queue.h"
#include "daemon/rendezvous.h"

#define IN(status) (1U << MIGRATION_STATUS_##status)
/* The source's "full" states; the others show the status alone. */
#define POSTCOPY                                                                     \
	(IN(POSTCOPY_DEVICE) | IN(POSTCOPY_ACTIVE) | IN(POSTCOPY_PAUSED) |           \
	 IN(POSTCOPY_RECOVER_SETUP) | IN(POSTCOPY_RECOVER))
#define FULL                                                                         \
	(IN(ACTIVE) | IN(CANCELLING) | IN(PRE_SWITCHOVER) | IN(DEVICE) | IN(COMPLETED) | POSTCOPY)
/* The blackout is over, and was measured. */
#define MOVED (IN(COMPLETED) | (POSTCOPY & ~IN(POSTCOPY_DEVICE)))

static bool status_in(const struct migration *m, uint32_t set)
{
	return (set >> m->status & 1) != 0;
}

/* From the worker's page: shown, whatever they are. */
#define STAT(m, member) ((int64_t)stats_get((m)->stats, member))

static int64_t total_ms(const struct migration *m)
{
	uint64_t start = stats_get(m->stats, start_ns), end = stats_get(m->stats, end_ns);

	if (end == 0)
		end = clock_now_ns();
	return end > start ? (int64_t)((end - start) / NS_PER_MS) : 0;
}

/* In the last window; once completed, over all of it but the setup. */
static double mbps(const struct migration *m, int64_t total)
{
	int64_t ms = total - STAT(m, setup_took_ms);

	if (m->status == MIGRATION_STATUS_COMPLETED && ms > 0)
		return (double)STAT(m, transferred_bytes) * 8 / ((double)ms / 1000) / 1e6;
	return (double)STAT(m, bandwidth_bps) * 8 / 1e6;
}

void migration_ram(const struct migration *m, struct migration_stats *ret)
{
	int64_t total = total_ms(m);
	bool completed = m->status == MIGRATION_STATUS_COMPLETED;

	*ret = (struct migration_stats){
		.transferred = STAT(m, transferred_bytes),
		.remaining = completed ? 0 : STAT(m, remaining_bytes),
		.total = STAT(m, total_bytes),
		.duplicate = STAT(m, duplicate_pages),
		.normal = STAT(m, normal_pages),
		.normal_bytes = (int64_t)((uint64_t)STAT(m, normal_pages) *
					  (uint64_t)STAT(m, page_size_bytes)),
		.dirty_pages_rate = completed ? 0 : STAT(m, dirty_pages_rate),
		.mbps = mbps(m, total),
		.dirty_sync_count = STAT(m, dirty_sync_count),
		.page_size = STAT(m, page_size_bytes),
		.pages_per_second = (uint64_t)STAT(m, pages_per_second),
		.dirty_sync_missed_zero_copy = (uint64_t)STAT(m, zero_copy_missed),
		.multifd_bytes = (uint64_t)STAT(m, multifd_bytes),
		.precopy_bytes = (uint64_t)STAT(m, precopy_bytes),
		.downtime_bytes = (uint64_t)STAT(m, downtime_bytes),
		.postcopy_bytes = (uint64_t)STAT(m, postcopy_bytes),
		.postcopy_requests = STAT(m, postcopy_requests),
		.hole = (uint64_t)STAT(m, hole_pages),
		.hinted = (uint64_t)STAT(m, hinted_pages),
	};
}

static void fill_xbzrle(const struct migration *m, struct xbzrle_cache_stats *ret)
{
	*ret = (struct xbzrle_cache_stats){
		.cache_size = (uint64_t)STAT(m, xbzrle_cache_bytes),
		.bytes = STAT(m, xbzrle_bytes),
		.pages = STAT(m, xbzrle_pages),
		.cache_miss = STAT(m, xbzrle_misses),
		.cache_miss_rate = (double)STAT(m, xbzrle_miss_ppm) / 1e6,
		.encoding_rate = (double)STAT(m, xbzrle_encoding_milli) / 1e3,
		.overflow = STAT(m, xbzrle_overflow),
	};
}

/* The destination knows nothing of what came before its first byte. */
static void fill_blackout(const struct migration *m, struct migration_blackout *ret)
{
	bool outgoing = m->direction == WORKER_DIRECTION_OUTGOING;

	*ret = (struct migration_blackout){
		.has_pause = outgoing,
		.pause = (uint64_t)STAT(m, blackout_pause_us),
		.has_save = outgoing,
		.save = (uint64_t)STAT(m, blackout_save_us),
		.has_sync = outgoing,
		.sync = (uint64_t)STAT(m, blackout_sync_us),
		.ram = (uint64_t)STAT(m, blackout_ram_us),
		.transfer = (uint64_t)STAT(m, blackout_transfer_us),
		.load = (uint64_t)STAT(m, blackout_load_us),
		.commit = (uint64_t)STAT(m, blackout_commit_us),
		.resume = (uint64_t)STAT(m, blackout_resume_us),
	};
}

static void fill_snapshot(const struct migration *m, struct migration_info *ret)
{
	ret->snapshot = (struct migration_snapshot){
		.pages = (uint64_t)STAT(m, snapshot_pages),
		.faults = (uint64_t)STAT(m, snapshot_faults),
		.fault_time = (uint64_t)STAT(m, snapshot_faults_us),
	};
	ret->has_snapshot = ret->snapshot.pages > 0;
}

/* Which of the host's migrations get how much, and when. */
static void fill_rank(const struct migration *m, struct migration_info *ret)
{
	ret->has_priority = true;
	ret->priority = m->priority;
	ret->has_host_share = shares_of(m, &ret->host_share);
}

static void fill_queue(const struct migration *m, struct migration_info *ret)
{
	ret->queue.position = queue_position(m);
	ret->has_queue = ret->queue.position != 0;
	if (ret->has_queue)
		ret->queue.length = queue_length(m);
}

static void fill_source(const struct migration *m, struct migration_info *ret)
{
	int64_t throttle = STAT(m, throttle_percent);

	if (migration_running(m))
		fill_rank(m, ret);
	if (!status_in(m, FULL))
		return;
	ret->has_total_time = true;
	ret->total_time = total_ms(m);
	ret->has_setup_time = true;
	ret->setup_time = STAT(m, setup_took_ms);
	ret->has_ram = true;
	migration_ram(m, &ret->ram);
	ret->has_xbzrle_cache = STAT(m, xbzrle_cache_bytes) > 0;
	fill_xbzrle(m, &ret->xbzrle_cache);
	ret->has_expected_downtime = !status_in(m, IN(COMPLETED) | POSTCOPY);
	ret->expected_downtime = STAT(m, expected_downtime_ms);
	ret->has_downtime = ret->has_blackout = status_in(m, MOVED);
	ret->downtime = STAT(m, downtime_ms);
	fill_blackout(m, &ret->blackout);
	fill_snapshot(m, ret);
	ret->has_cpu_throttle_percentage = throttle > 0;
	ret->cpu_throttle_percentage = throttle;
	ret->has_dirty_limit_throttle_time_per_round = ret->has_dirty_limit_ring_full_time =
		STAT(m, dirty_limit_active) != 0;
	ret->dirty_limit_throttle_time_per_round = (uint64_t)STAT(m, dirty_limit_throttle_us);
	ret->dirty_limit_ring_full_time = (uint64_t)STAT(m, dirty_limit_ring_full_us);
}

static int fill_target(const struct migration *m, struct migration_info *ret)
{
	ret->has_blackout = status_in(m, MOVED);
	if (ret->has_blackout)
		fill_blackout(m, &ret->blackout);
	if (rendezvous_name(m)) {
		ret->has_socket_address = true;
		return listeners_describe(m->guest->daemon->listeners, &ret->socket_address,
					  &ret->n_socket_address);
	}
	if (!m->has_listen_addr)
		return 0;
	ret->socket_address = calloc(1, sizeof(*ret->socket_address));
	if (!ret->socket_address)
		return -ENOMEM;
	ret->has_socket_address = true;
	if (address_describe(&m->listen_addr, &ret->socket_address[0]) < 0)
		return -ENOMEM;
	ret->n_socket_address = 1;
	return 0;
}

static int fill_common(const struct migration *m, struct migration_info *ret)
{
	ret->has_status = true;
	ret->status = m->status;
	ret->has_id = !m->preflight_only;
	ret->id = ret->has_id ? strdup(m->id) : NULL;
	if (ret->has_id && !ret->id)
		return -ENOMEM;
	if (merr_is_set(&m->error)) {
		ret->error_desc = strdup(merr_msg(&m->error));
		ret->has_error_desc = ret->error_desc != NULL;
		if (!ret->error_desc)
			return -ENOMEM;
	}
	ret->has_handover = migration_handover_info(m, &ret->handover) == 0;
	ret->reconnects = STAT(m, recoveries);
	ret->has_reconnects = ret->reconnects > 0;
	fill_queue(m, ret);
	return 0;
}

static int fill_blockers(const struct guest *g, struct migration_info *info)
{
	if (g->n_blockers == 0)
		return 0;
	info->blocked_reasons = calloc(g->n_blockers, sizeof(*info->blocked_reasons));
	if (!info->blocked_reasons)
		return -ENOMEM;
	info->has_blocked_reasons = true;
	for (; info->n_blocked_reasons < g->n_blockers; info->n_blocked_reasons++) {
		char *copy = strdup(g->blockers[info->n_blocked_reasons]);

		if (!copy)
			return -ENOMEM;
		info->blocked_reasons[info->n_blocked_reasons] = copy;
	}
	return 0;
}

int migration_info(const struct guest *g, struct migration_info *ret)
{
	const struct migration *m = g->migration;
	struct migration_info info = { 0 };
	int r;

	if (m && m->status != MIGRATION_STATUS_NONE) {
		r = fill_common(m, &info);
		if (r == 0 && m->direction == WORKER_DIRECTION_INCOMING)
			r = fill_target(m, &info);
		else if (r == 0)
			fill_source(m, &info);
		if (r == 0)
			r = postcopy_info(m, &info);
		if (r == 0)
			r = decisions_info(m, &info);
		if (r < 0) {
			migration_info_done(&info);
			return r;
		}
	}
	r = preflight_info(g, &info);
	if (r == 0)
		r = fill_blockers(g, &info);
	if (r < 0) {
		migration_info_done(&info);
		return r;
	}
	*ret = info;
	return 0;
}
