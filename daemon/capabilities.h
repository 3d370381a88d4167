/* SPDX-License-Identifier: Apache-2.0 */
/* Which migration capabilities there are, and which go together (QMP.md 3). */
#ifndef MIGD_DAEMON_CAPABILITIES_H
#define MIGD_DAEMON_CAPABILITIES_H

#include <stdbool.h>

#include "base/err.h"
#include "schema/types.h"

/* A guest's settings as they would be, to be judged as a whole. All is borrowed. */
struct settings {
	const bool *on;                                /* by enum migration_capability */
	const bool *was_on;                            /* the same before the change */
	const struct migration_parameters *parameters; /* all of them set */
	bool has_dirty_ring; /* KVM's, of this guest's VM */
	bool listening; /* a socket waits for an incoming migration of this guest */
};

/* Which are carried out by this version: -ENOTSUP naming one of S that is not. */
int capabilities_check_supported(const struct settings *s, struct merr *err);

/*
 * Which go together, with each other and with the parameters, whether supported or not. -EINVAL
 * naming the first pair that does not, in the order of QMP.md 3.
 */
int capabilities_check_rules(const struct settings *s, struct merr *err);

/* Both. */
int capabilities_check(const struct settings *s, struct merr *err);

#endif
