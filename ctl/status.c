/* SPDX-License-Identifier: Apache-2.0 */
/* The exit statuses, in words. */
#include "ctl/status.h"

const struct ctl_status_row ctl_status_rows[CTL_N_STATUS] = {
	[CTL_OK] = { "done", "done; of a command that waits for a migration: it completed" },
	[CTL_FAILED] = { "failed", "refused, or it did not work out; standard error says why" },
	[CTL_USAGE] = { "usage", "the command line is wrong; nothing was asked of the daemon" },
	[CTL_UNREACHABLE] = { "unreachable", "the daemon cannot be reached, or the connection to it broke" },
	[CTL_NO_GUEST] = { "no-such-guest", "the daemon has no guest of that name, or none was named and there is not just one" },
	[CTL_MIGRATION_FAILED] = { "migration-failed",
				   "the migration failed: the guest runs on where it was, as if nothing had happened" },
	[CTL_CANCELLED] = { "migration-cancelled", "the migration was cancelled; the guest runs on where it was" },
	[CTL_IN_DOUBT] = { "migration-in-doubt",
			   "the guest was released to the other side, which cannot be reached to say whether it runs there: it is "
			   "stopped here until it can, or `migctl resolve` decides" },
	[CTL_NOT_PERMITTED] = { "not-permitted", "whoever runs migctl may not do this" },
	[CTL_TIMED_OUT] = { "timed-out", "the time of `--timeout` is over; what was waited for goes on" },
};
