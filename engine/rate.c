/* SPDX-License-Identifier: Apache-2.0 */
/* The bandwidth limit. */
#include "engine/rate.h"

#include <errno.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

#define WINDOW_NS (100 * NS_PER_MS)

static uint64_t allowance(uint64_t limit)
{
	return limit / (NS_PER_SEC / WINDOW_NS);
}

uint64_t rate_allowance(const struct rate *r)
{
	uint64_t limit = atomic_load_explicit(&r->limit_bps, memory_order_relaxed);

	return limit ? allowance(limit) : UINT64_MAX;
}

/*
 * Open the windows that have begun; true if the current one has room. What a window was overdrawn by is taken off the next
 * ones; what one left unused is lost.
 */
static bool next_window(struct rate *r, uint64_t limit)
{
	uint64_t now = clock_now_ns(), passed = (now - r->window_start_ns) / WINDOW_NS, earned;

	if (passed > 0) {
		if (!mul_ok(passed, allowance(limit), &earned))
			earned = UINT64_MAX;
		r->window_bytes -= min_u64(r->window_bytes, earned);
		r->window_start_ns = now;
	}
	return r->window_bytes < max_u64(allowance(limit), 1);
}

int rate_spend(struct rate *r, uint64_t bytes, int cancel_fd)
{
	uint64_t limit;
	int res;

	for (;;) {
		limit = atomic_load_explicit(&r->limit_bps, memory_order_relaxed);
		if (limit == 0) {
			r->window_bytes = 0;
			return 0;
		}
		if (next_window(r, limit))
			break;
		/* fd -1 never has events: this sleeps until the window ends. */
		res = fd_wait(-1, 0, cancel_fd, r->window_start_ns + WINDOW_NS);
		if (res != -ETIMEDOUT)
			return res;
	}
	r->window_bytes += bytes;
	return 0;
}
