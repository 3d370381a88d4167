/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded list of decisions. */
#include "engine/decisions.h"

#include <string.h>

void decisions_add(struct decisions *ds, const struct decision *d)
{
	if (ds->n == LINK_DECISIONS_MAX) {
		ds->n--;
		memmove(&ds->list[0], &ds->list[1], ds->n * sizeof(ds->list[0]));
	}
	ds->list[ds->n++] = *d;
}

struct migration_decision decision_describe(const struct decision *d)
{
	return (struct migration_decision){
		.decision = d->kind,
		.reason = (char *)(uintptr_t)d->reason,
		.pass = d->pass,
		.time = d->time_ms,
	};
}
