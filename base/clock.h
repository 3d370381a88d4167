/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks: monotonic time in nanoseconds, wall time where a person reads it. */
#ifndef MIGD_BASE_CLOCK_H
#define MIGD_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "base/fault.h"

#define NS_PER_US 1000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_SEC 1000000000ULL

/* A deadline that never comes. */
#define DEADLINE_NONE UINT64_MAX

static inline uint64_t timespec_ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * NS_PER_SEC + (uint64_t)ts->tv_nsec;
}

/* CLOCK_MONOTONIC, ns: the same in every process of this host, unmoved by clock steps. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return timespec_ns(&ts);
}

/* CLOCK_REALTIME, ns since 1970; stepped, where a fault point says so. */
static inline uint64_t clock_wall_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return timespec_ns(&ts) + (uint64_t)fault_clock_step();
}

/* Milliseconds for poll() until DEADLINE_NS (monotonic): -1 for never, 0 if past, rounded up. */
static inline int clock_poll_ms(uint64_t deadline_ns)
{
	uint64_t now, ms;

	if (deadline_ns == DEADLINE_NONE)
		return -1;
	now = clock_now_ns();
	if (now >= deadline_ns)
		return 0;
	ms = (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
	return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

#endif
