/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that somebody waits for. */
#include "base/short-slice.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#define SLICE_NS (100 * NS_PER_US)	/* the least there is */
#define RESET_ON_FORK 1	/* SCHED_FLAG_RESET_ON_FORK */

/* The kernel's struct sched_attr, in its first version; older C libraries do not declare it. */
struct attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns;
	uint64_t deadline_ns;
	uint64_t period_ns;
};

void short_slice(void)
{
	struct attr a = {
		.size = sizeof(a),
		.policy = SCHED_OTHER,
		.flags = RESET_ON_FORK,
		.nice = getpriority(PRIO_PROCESS, 0),
		.runtime_ns = SLICE_NS,
	};

	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}
