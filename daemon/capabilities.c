/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which migration capabilities there are. A row for a pair that excludes or requires comes with the
 * second of the two.
 */
#include "daemon/capabilities.h"

#include <errno.h>

#include "base/cleanup.h"

static const bool supported[MIGRATION_CAPABILITY__MAX] = {
	[MIGRATION_CAPABILITY_EVENTS] = true,
	[MIGRATION_CAPABILITY_RETURN_PATH] = true, /* always open, whatever this says */
	[MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER] = true,
	[MIGRATION_CAPABILITY_LATE_BLOCK_ACTIVATE] = true, /* always so */
	[MIGRATION_CAPABILITY_ZERO_BLOCKS] = true,         /* no effect, in QEMU neither */
	[MIGRATION_CAPABILITY_SWITCHOVER_ACK] = true,
};

/* One that needs another, and is refused without it. */
static const struct {
	enum migration_capability on, needs;
} requirements[] = {
	{ MIGRATION_CAPABILITY_SWITCHOVER_ACK, MIGRATION_CAPABILITY_RETURN_PATH },
};

static int check_requirements(const bool on[MIGRATION_CAPABILITY__MAX], struct merr *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(requirements); i++)
		if (on[requirements[i].on] && !on[requirements[i].needs])
			return merr_set(err, -EINVAL,
					"Capability '%s' requires capability '%s'; turn both on, in "
					"one command if you like",
					migration_capability_str(requirements[i].on),
					migration_capability_str(requirements[i].needs));
	return 0;
}

int capabilities_check(const bool on[MIGRATION_CAPABILITY__MAX], struct merr *err)
{
	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++)
		if (on[i] && !supported[i])
			return merr_set(err, -ENOTSUP,
					"Capability '%s' is not supported by this version of migd; "
					"leave it off",
					migration_capability_str((enum migration_capability)i));
	return check_requirements(on, err);
}
