/* SPDX-License-Identifier: Apache-2.0 */
/* How many commands a session may send a second: a bucket that holds a second's worth. */
#ifndef MIGD_QMP_RATE_H
#define MIGD_QMP_RATE_H

#include <stdint.h>

#include "base/clock.h"

/* Zero-initialise: the bucket is full. */
struct rate {
	uint64_t full_at_ns;	/* monotonic: when it would be full again */
};

/* How long until one more is allowed at PER_SECOND (not 0), ns; 0: it is. */
static inline uint64_t rate_wait_ns(const struct rate *r, unsigned int per_second, uint64_t now_ns)
{
	uint64_t one = NS_PER_SEC / per_second, missing = r->full_at_ns > now_ns ? r->full_at_ns - now_ns : 0;

	return missing + one > NS_PER_SEC ? missing + one - NS_PER_SEC : 0;
}

static inline void rate_take(struct rate *r, unsigned int per_second, uint64_t now_ns)
{
	r->full_at_ns = (r->full_at_ns > now_ns ? r->full_at_ns : now_ns) + NS_PER_SEC / per_second;
}

#endif
