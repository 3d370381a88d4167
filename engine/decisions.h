/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration decided by itself, for its daemon, and the next one. */
#ifndef MIGD_ENGINE_DECISIONS_H
#define MIGD_ENGINE_DECISIONS_H

#include <stdint.h>

#include "engine/link.h"
#include "schema/types.h"

#define DECISION_REASON_MAX 192U

struct decision {
	enum migration_decision_kind kind;
	uint64_t pass;		/* over memory: the one that runs, or would be next */
	uint64_t time_ms;	/* since `migrate` */
	char reason[DECISION_REASON_MAX];
};

/* The oldest first. */
struct decisions {
	struct decision list[LINK_DECISIONS_MAX];
	uint32_t n;
};

void decisions_add(struct decisions *ds, const struct decision *d);

/* As the schema has it. Strings borrow D. */
struct migration_decision decision_describe(const struct decision *d);

#endif
