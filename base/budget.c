/* SPDX-License-Identifier: Apache-2.0 */
/* How often something may still be done. */
#include "base/budget.h"

#include "base/clock.h"

#define ONE 1000U /* in thousandths */

bool budget_take(struct budget *b, unsigned int burst, unsigned int per_second, uint64_t now_ns)
{
	uint64_t most = (uint64_t)burst * ONE, elapsed_ms = (now_ns - b->since_ns) / NS_PER_MS;
	/* More time than that pays for everything. */
	uint64_t regained = elapsed_ms < most ? elapsed_ms * per_second : b->spent;

	b->spent -= regained < b->spent ? regained : b->spent;
	b->since_ns += elapsed_ms * NS_PER_MS;
	if (b->spent + ONE > most)
		return false;
	b->spent += ONE;
	return true;
}
