/* SPDX-License-Identifier: Apache-2.0 */
/* The bandwidth limit: bytes per 100 ms window, as QMP.md 4 and 9 say. */
#ifndef MIGD_ENGINE_RATE_H
#define MIGD_ENGINE_RATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One a migration; its threads spend from it together. */
struct rate {
	_Atomic uint64_t limit_bps;	/* bytes per second; 0: none. May change at any time */
	_Atomic uint64_t share_bps;	/* what the host's budget leaves this migration; 0: no limit. The same */
	atomic_bool lifted;		/* neither counts: the switchover has no limit (QMP.md 4) */
	_Atomic uint64_t *waited_us;	/* waits for the limit are added to it; NULL: nobody wants to know */
	pthread_mutex_t lock;
	uint64_t window_start_ns;	/* under `lock`, as the next */
	uint64_t window_bytes;
	uint64_t window_allowance;	/* as it was when the window began */
};

/* 0 or -errno. */
int rate_init(struct rate *r);

/* What the limit allows in one window; UINT64_MAX without a limit. */
uint64_t rate_allowance(const struct rate *r);

/* Account for BYTES if there is room now; else *ret_until_ns is when there may be. Does not wait. */
bool rate_try_spend(struct rate *r, uint64_t bytes, uint64_t *ret_until_ns);

/*
 * Account for BYTES about to be written, after waiting for a new window if this one is used up. Ends with
 * -ECANCELED when CANCEL_FD becomes readable. A change of the limit takes effect within one window.
 */
int rate_spend(struct rate *r, uint64_t bytes, int cancel_fd);

#endif
