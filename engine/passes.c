/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded list of passes. */
#include "engine/passes.h"

#include <string.h>

#include "base/clock.h"

void passes_add(struct passes *ps, const struct pass_begin *p)
{
	if (ps->n == LINK_PASSES_MAX) {
		ps->n--;
		memmove(&ps->list[0], &ps->list[1], ps->n * sizeof(ps->list[0]));
	}
	ps->list[ps->n++] = *p;
}

struct worker_pass pass_describe(const struct pass_begin *p)
{
	return (struct worker_pass){
		.pass = p->number,
		.has_begin = true,
		.begin = {
			.time = p->time_ns / NS_PER_US,
			.dirtied_pages = p->dirtied_pages,
			.dirty_pages_rate = p->dirty_pages_rate,
			.throttle = p->throttle_percent,
			.normal_pages = p->normal_pages,
			.zero_pages = p->zero_pages,
			.bytes = p->bytes,
		},
	};
}
