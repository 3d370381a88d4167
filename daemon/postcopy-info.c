/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker counts in post-copy, as query-migrate shows it: QMP.md 2.2, and what only migd has. */
#include "daemon/postcopy-info.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/fault-latency.h"
#include "daemon/guest.h"
#include "daemon/migration.h"

#define STAT(m, member) stats_get((m)->stats, member)

static uint64_t mean(uint64_t sum, uint64_t n)
{
	return n > 0 ? sum / n : 0;
}

/* Without the faults that end between two reads of the page, min <= p50 <= ... <= max. */
static uint64_t between(uint64_t value, uint64_t min, uint64_t max)
{
	if (value < min)
		return min;
	return value > max ? max : value;
}

static void fill_latency(const struct migration *m, struct migration_fault_latency *ret)
{
	uint64_t min = STAT(m, fault_min_ns), max = STAT(m, fault_max_ns);

	*ret = (struct migration_fault_latency){
		.min = min,
		.mean = mean(STAT(m, fault_sum_ns), STAT(m, faults)),
		.p50 = between(fault_latency_percentile(m->stats, 50), min, max),
		.p90 = between(fault_latency_percentile(m->stats, 90), min, max),
		.p99 = between(fault_latency_percentile(m->stats, 99), min, max),
		.max = max,
	};
}

static void fill_postcopy(const struct migration *m, struct migration_postcopy *ret)
{
	bool source = m->direction == WORKER_DIRECTION_OUTGOING;

	*ret = (struct migration_postcopy){
		.has_requested = source,
		.requested = STAT(m, requested_pages),
		.has_prefetched = source,
		.prefetched = STAT(m, prefetched_pages),
		.has_background = source,
		.background = STAT(m, background_pages),
		.has_missing = !source,
		.missing = STAT(m, missing_pages),
		.has_faults = !source,
		.faults = STAT(m, faults),
		.has_fault_latency = !source && STAT(m, faults) > 0,
		.recoveries = STAT(m, recoveries),
	};
	fill_latency(m, &ret->fault_latency);
}

/* ---- QEMU's, with the capability postcopy-blocktime ---- */

/* vCPUs are counted by index, without gaps. */
static size_t count_vcpus(const struct stats_page *s)
{
	size_t n = 0;

	while (n < STATS_VCPUS_MAX && atomic_load(&s->vcpus[n].exists))
		n++;
	return n;
}

static int fill_vcpus(const struct stats_page *s, struct migration_info *ret)
{
	size_t n = count_vcpus(s);

	ret->postcopy_vcpu_blocktime = calloc(n + 1, sizeof(*ret->postcopy_vcpu_blocktime));
	ret->postcopy_vcpu_latency = calloc(n + 1, sizeof(*ret->postcopy_vcpu_latency));
	if (!ret->postcopy_vcpu_blocktime || !ret->postcopy_vcpu_latency)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct stats_vcpu *v = &s->vcpus[i];

		ret->postcopy_vcpu_blocktime[i] = (uint32_t)atomic_load(&v->blocktime_ms);
		ret->postcopy_vcpu_latency[i] = mean(atomic_load(&v->fault_sum_ns), atomic_load(&v->faults));
	}
	ret->n_postcopy_vcpu_blocktime = ret->n_postcopy_vcpu_latency = n;
	ret->has_postcopy_vcpu_blocktime = ret->has_postcopy_vcpu_latency = true;
	return 0;
}

static int fill_blocktime(const struct migration *m, struct migration_info *ret)
{
	ret->has_postcopy_blocktime = true;
	ret->postcopy_blocktime = (uint32_t)STAT(m, blocktime_ms);
	ret->has_postcopy_latency = true;
	ret->postcopy_latency = mean(STAT(m, fault_sum_ns), STAT(m, faults));
	ret->has_postcopy_non_vcpu_latency = true;
	ret->postcopy_non_vcpu_latency = mean(STAT(m, fault_outside_sum_ns), STAT(m, faults_outside));
	ret->postcopy_latency_dist = calloc(FAULT_LATENCY_CLASSES, sizeof(*ret->postcopy_latency_dist));
	if (!ret->postcopy_latency_dist)
		return -ENOMEM;
	ret->has_postcopy_latency_dist = true;
	ret->n_postcopy_latency_dist = FAULT_LATENCY_CLASSES;
	fault_latency_distribution(m->stats, ret->postcopy_latency_dist);
	return fill_vcpus(m->stats, ret);
}

int postcopy_info(const struct migration *m, struct migration_info *ret)
{
	if (STAT(m, postcopied) == 0)
		return 0;
	ret->has_postcopy = true;
	fill_postcopy(m, &ret->postcopy);
	if (m->direction != WORKER_DIRECTION_INCOMING || m->status != MIGRATION_STATUS_COMPLETED ||
	    !m->guest->capabilities[MIGRATION_CAPABILITY_POSTCOPY_BLOCKTIME])
		return 0;
	return fill_blocktime(m, ret);
}
