/* SPDX-License-Identifier: Apache-2.0 */
/* What the comparison of a migration's two sides gave, for query-migrate and MIGRATION_PREFLIGHT. */
#ifndef MIGD_DAEMON_PREFLIGHT_H
#define MIGD_DAEMON_PREFLIGHT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "schema/types.h"

struct guest;
struct migration;

/* The worker's message PREFLIGHT: note it with the guest, and tell QMP's clients. */
int preflight_on_message(struct migration *m, json_t *body, struct merr *err);

/*
 * G's migration was to compare only, and that is done, its worker dismissed: the guest is as if there had been none, but for
 * the result. Frees it.
 */
void preflight_conclude(struct guest *g);

/* A new migration begins, or the guest's record ends. */
void preflight_forget(struct guest *g);

/* For query-migrate. -ENOMEM. */
int preflight_info(const struct guest *g, struct migration_info *ret);

#endif
