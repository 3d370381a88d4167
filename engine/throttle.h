/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a guest that dirties memory faster than it can be sent is slowed down, and how much: the decisions alone, which
 * engine/source-throttle.c carries out. Source: QMP.md 9 ("high period") and 4 (the parameters).
 */
#ifndef MIGD_ENGINE_THROTTLE_H
#define MIGD_ENGINE_THROTTLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The parameters as they are at one decision. */
struct throttle_settings {
	unsigned int threshold_percent;	/* throttle-trigger-threshold, 1..100 */
	unsigned int initial_percent;	/* cpu-throttle-initial, 1..99 */
	unsigned int increment_percent;	/* cpu-throttle-increment, 1..99 */
	unsigned int max_percent;	/* max-cpu-throttle, initial..99 */
	bool tailslow;			/* cpu-throttle-tailslow */
};

/* The same where they are set while a migration runs: each takes effect at the next decision. */
struct throttle_knobs {
	_Atomic unsigned int threshold_percent;
	_Atomic unsigned int initial_percent;
	_Atomic unsigned int increment_percent;
	_Atomic unsigned int max_percent;
	atomic_bool tailslow;
	_Atomic uint64_t vcpu_limit_mib;	/* vcpu-dirty-limit, MiB/s */
	_Atomic uint64_t vcpu_period_ms;	/* x-vcpu-dirty-limit-period */
};

struct throttle_settings throttle_settings(const struct throttle_knobs *k);

/* What one period saw. */
struct throttle_load {
	uint64_t dirtied_bytes;
	uint64_t allowed_bytes;	/* sent, times the threshold */
};

/* The period that runs, and how many of those before it were high. All zero before the first sync. */
struct throttle_watch {
	uint64_t start_ns;
	uint64_t dirtied_bytes;
	uint64_t sent_at_start_bytes;
	unsigned int n_high;
};

/*
 * A sync at NOW_NS found DIRTIED_BYTES more; SENT_BYTES were sent since the start of the migration. A period ends with the
 * first sync at least a second after its start, and is high if the guest dirtied more than what was sent in it times the
 * threshold. True: this was the second high one, the guest is to be slowed down (more); *ret is what this period saw.
 */
bool throttle_watch_sync(struct throttle_watch *w, uint64_t now_ns, uint64_t dirtied_bytes, uint64_t sent_bytes,
			 unsigned int threshold_percent, struct throttle_load *ret);

/*
 * The throttle that follows NOW_PERCENT (0: none yet): the initial one, then one increment more each time, to the maximum.
 * With tailslow the increment is no larger than what brings the guest, if what it dirties goes with the time it runs, to
 * the allowed amount; but at least 1.
 */
unsigned int throttle_next(const struct throttle_settings *set, unsigned int now_percent,
			   const struct throttle_load *load);

#endif
