/* SPDX-License-Identifier: Apache-2.0 */
/* The bandwidth limit. */
#include "engine/rate.h"

#include <errno.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

#define WINDOW_NS (100 * NS_PER_MS)

static uint64_t allowance(uint64_t limit)
{
	return limit / (NS_PER_SEC / WINDOW_NS);
}

int rate_init(struct rate *r)
{
	*r = (struct rate){ 0 };
	return -pthread_mutex_init(&r->lock, NULL);
}

/* Bytes a second that both limits allow; 0: none does. */
static uint64_t limit_of(const struct rate *r)
{
	uint64_t limit = atomic_load_explicit(&r->limit_bps, memory_order_relaxed);
	uint64_t share = atomic_load_explicit(&r->share_bps, memory_order_relaxed);

	if (atomic_load_explicit(&r->lifted, memory_order_relaxed))
		return 0;
	return limit && share ? min_u64(limit, share) : max_u64(limit, share);
}

uint64_t rate_allowance(const struct rate *r)
{
	uint64_t limit = limit_of(r);

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
		/* What was spent in the window that ends was spent under the limit of then. */
		if (!mul_ok(passed - 1, allowance(limit), &earned) || !add_ok(earned, r->window_allowance, &earned))
			earned = UINT64_MAX;
		r->window_allowance = allowance(limit);
		r->window_bytes -= min_u64(r->window_bytes, earned);
		/* Not NOW: who wakes up late would have fewer windows in a second, and less than its limit. */
		r->window_start_ns += passed * WINDOW_NS;
	}
	return r->window_bytes < max_u64(allowance(limit), 1);
}

bool rate_try_spend(struct rate *r, uint64_t bytes, uint64_t *ret_until_ns)
{
	LOCK_SCOPE(&r->lock);
	uint64_t limit = limit_of(r);

	if (limit == 0) {
		r->window_bytes = 0;
		return true;
	}
	if (!next_window(r, limit)) {
		*ret_until_ns = r->window_start_ns + WINDOW_NS;
		return false;
	}
	r->window_bytes += bytes;
	return true;
}

/* fd -1 never has events: this sleeps until the window ends. */
static int wait_for_window(struct rate *r, uint64_t until_ns, int cancel_fd)
{
	uint64_t since_ns = clock_now_ns();
	int res = fd_wait(-1, 0, cancel_fd, until_ns);

	if (r->waited_us)
		atomic_fetch_add_explicit(r->waited_us, (clock_now_ns() - since_ns) / NS_PER_US,
					  memory_order_relaxed);
	return res;
}

int rate_spend(struct rate *r, uint64_t bytes, int cancel_fd)
{
	uint64_t until_ns;
	int res;

	while (!rate_try_spend(r, bytes, &until_ns)) {
		res = wait_for_window(r, until_ns, cancel_fd);
		if (res != -ETIMEDOUT)
			return res;
	}
	return 0;
}
