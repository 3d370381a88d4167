/* SPDX-License-Identifier: Apache-2.0 */
/* The bandwidth limit. */
#include "engine/rate.h"

#include <errno.h>

#include "base/clock.h"
#include "base/fd.h"

#define WINDOW_NS (100 * NS_PER_MS)

int rate_spend(struct rate *r, uint64_t bytes, int cancel_fd)
{
	uint64_t now, limit;
	int res;

	for (;;) {
		limit = atomic_load_explicit(&r->limit_bps, memory_order_relaxed);
		if (limit == 0)
			return 0;
		now = clock_now_ns();
		if (now - r->window_start_ns >= WINDOW_NS) {
			r->window_start_ns = now;
			r->window_bytes = 0;
		}
		if (r->window_bytes < limit / (NS_PER_SEC / WINDOW_NS))
			break;
		/* fd -1 never has events: this sleeps until the window ends. */
		res = fd_wait(-1, 0, cancel_fd, r->window_start_ns + WINDOW_NS);
		if (res != -ETIMEDOUT)
			return res;
	}
	r->window_bytes += bytes;
	return 0;
}
