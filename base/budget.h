/* SPDX-License-Identifier: Apache-2.0 */
/* How often something may still be done, when strangers decide how often it is asked for: a burst, then so often a second. */
#ifndef MIGD_BASE_BUDGET_H
#define MIGD_BASE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: the whole burst. One thread's. */
struct budget {
	uint64_t spent;	/* in thousandths */
	uint64_t since_ns;
};

/* Take one at NOW_NS (monotonic). False: there were too many. BURST and PER_SECOND are the same each time. */
bool budget_take(struct budget *b, unsigned int burst, unsigned int per_second, uint64_t now_ns);

#endif
