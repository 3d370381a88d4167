/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long page faults of post-copy took, from the classes of a statistics page (engine/stats-page.h, fault_buckets). The
 * worker may be counting meanwhile: what is read is a moment's view, and a class that is not counted yet is missing.
 */
#ifndef MIGD_DAEMON_FAULT_LATENCY_H
#define MIGD_DAEMON_FAULT_LATENCY_H

#include <stdint.h>

#include "engine/stats-page.h"

/* Powers of two of microseconds, as query-migrate's postcopy-latency-dist has them. */
#define FAULT_LATENCY_CLASSES 24U

/*
 * The latency that PERCENT (1 to 100) of the faults did not exceed, nanoseconds: the middle of its class, so it is off by at
 * most an eighth. 0: there was no fault.
 */
uint64_t fault_latency_percentile(const struct stats_page *s, unsigned int percent);

/*
 * RET[i] counts faults from 2^i to 2^(i+1) microseconds; the first and the last include all beyond. A page's classes are not
 * cut at these bounds: each goes where its middle is, so the real bounds are 2.4 % higher.
 */
void fault_latency_distribution(const struct stats_page *s, uint64_t ret[FAULT_LATENCY_CLASSES]);

#endif
