/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of fault latencies, read. */
#include "daemon/fault-latency.h"

#include "base/clock.h"

/* Of class I: the middle between its two bounds, nanoseconds. */
static uint64_t middle_ns(unsigned int i)
{
	uint64_t power = 1ULL << i / 4;

	/* From (4 + p) / 4 to (5 + p) / 4 of it. */
	return power * (9 + 2 * (i % 4)) / 8;
}

static uint64_t count(const struct stats_page *s, unsigned int i)
{
	return atomic_load_explicit(&s->fault_buckets[i], memory_order_relaxed);
}

uint64_t fault_latency_percentile(const struct stats_page *s, unsigned int percent)
{
	uint64_t counts[STATS_FAULT_BUCKETS], total = 0, seen = 0;
	unsigned int last = 0;

	for (unsigned int i = 0; i < STATS_FAULT_BUCKETS; i++) {
		counts[i] = count(s, i);
		total += counts[i];
	}
	for (unsigned int i = 0; i < STATS_FAULT_BUCKETS; i++) {
		seen += counts[i];
		if (counts[i] > 0)
			last = i;
		/* Not `seen / total`: it would be cut off. A worker's counts are far from where this overflows. */
		if (seen > 0 && seen * 100 >= total * percent)
			break;
	}
	return total == 0 ? 0 : middle_ns(last);
}

void fault_latency_distribution(const struct stats_page *s, uint64_t ret[FAULT_LATENCY_CLASSES])
{
	for (unsigned int i = 0; i < FAULT_LATENCY_CLASSES; i++)
		ret[i] = 0;
	for (unsigned int i = 0; i < STATS_FAULT_BUCKETS; i++) {
		uint64_t us = middle_ns(i) / NS_PER_US;
		unsigned int class = us == 0 ? 0 : 63 - (unsigned int)__builtin_clzll(us);

		ret[class < FAULT_LATENCY_CLASSES ? class : FAULT_LATENCY_CLASSES - 1] += count(s, i);
	}
}
