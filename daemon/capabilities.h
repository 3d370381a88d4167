/* SPDX-License-Identifier: Apache-2.0 */
/* Which migration capabilities there are, and which go together (QMP.md 3). */
#ifndef MIGD_DAEMON_CAPABILITIES_H
#define MIGD_DAEMON_CAPABILITIES_H

#include <stdbool.h>

#include "base/err.h"
#include "schema/types.h"

/*
 * Check the set ON (by enum migration_capability) as a whole. -EINVAL, or -ENOTSUP naming one that
 * is not there.
 */
int capabilities_check(const bool on[MIGRATION_CAPABILITY__MAX], struct merr *err);

#endif
