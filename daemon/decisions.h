/* SPDX-License-Identifier: Apache-2.0 */
/* What an outgoing migration decided by itself (engine/strategy.h): told, and kept for query-migrate. */
#ifndef MIGD_DAEMON_DECISIONS_H
#define MIGD_DAEMON_DECISIONS_H

#include <jansson.h>

#include "base/err.h"

struct migration;
struct migration_info;
struct worker_adopt;

/* DECISION from M's worker: kept, and told as MIGRATION_DECISION. -EBADMSG with ERR. */
int decisions_on_message(struct migration *m, json_t *body, struct merr *err);

/* Those of before, from A, which gives them up. Nobody is told again. */
void decisions_adopt(struct migration *m, struct worker_adopt *a);

void decisions_forget(struct migration *m);

/* query-migrate's, if there are any. -ENOMEM. */
int decisions_info(const struct migration *m, struct migration_info *ret);

#endif
