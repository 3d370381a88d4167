/* SPDX-License-Identifier: Apache-2.0 */
/* The priority of outgoing migrations, as QMP's clients give it. */
#ifndef MIGD_DAEMON_PRIORITY_H
#define MIGD_DAEMON_PRIORITY_H

#include <stdint.h>

#include "base/err.h"

/* -EINVAL with ERR unless PRIORITY is from PRIORITY_MIN to PRIORITY_MAX (daemon/budget.h). */
int priority_check(int64_t priority, struct merr *err);

#endif
