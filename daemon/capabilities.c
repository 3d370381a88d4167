/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which migration capabilities there are. A row for a pair that excludes or requires comes with the
 * second of the two.
 */
#include "daemon/capabilities.h"

#include <errno.h>

static const bool supported[MIGRATION_CAPABILITY__MAX] = {
	[MIGRATION_CAPABILITY_EVENTS] = true,
	[MIGRATION_CAPABILITY_RETURN_PATH] = true, /* always open, whatever this says */
	[MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER] = true,
	[MIGRATION_CAPABILITY_LATE_BLOCK_ACTIVATE] = true, /* always so */
	[MIGRATION_CAPABILITY_ZERO_BLOCKS] = true,         /* no effect, in QEMU neither */
};

int capabilities_check(const bool on[MIGRATION_CAPABILITY__MAX], struct merr *err)
{
	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++)
		if (on[i] && !supported[i])
			return merr_set(err, -ENOTSUP,
					"Capability '%s' is not supported by this version of migd; "
					"leave it off",
					migration_capability_str((enum migration_capability)i));
	return 0;
}
