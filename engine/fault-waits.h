/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for which page since when, and the statistics that come of it: latencies of faults, and how long vCPUs stood still
 * (QMP.md 9). Any thread; a lock inside.
 */
#ifndef MIGD_ENGINE_FAULT_WAITS_H
#define MIGD_ENGINE_FAULT_WAITS_H

#include "engine/guest-link.h"
#include "engine/ram.h"
#include "engine/stats-page.h"

struct fault_waits;

/* Of the vCPUs that UFFD tells. STATS is borrowed. NULL: no memory. */
struct fault_waits *fault_waits_new(const struct guest_uffd *uffd, struct stats_page *stats);
struct fault_waits *fault_waits_free(struct fault_waits *w);

/* THREAD_ID (0: not told) waits for PAGE of B since NOW_NS; said again, it goes on waiting. */
void fault_waits_begin(struct fault_waits *w, const struct ram_file *b, uint64_t page, uint32_t thread_id,
		       uint64_t now_ns);
/* Nobody waits for N pages from PAGE on any more. */
void fault_waits_end(struct fault_waits *w, const struct ram_file *b, uint64_t page, uint64_t n, uint64_t now_ns);

/* Where a latency is counted in stats_page.fault_buckets. */
unsigned int fault_bucket(uint64_t ns);

#endif
