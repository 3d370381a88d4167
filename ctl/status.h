/* SPDX-License-Identifier: Apache-2.0 */
/* What the exit status of migctl says. Scripts rely on it: numbers stay as they are. */
#ifndef MIGD_CTL_STATUS_H
#define MIGD_CTL_STATUS_H

enum ctl_status {
	CTL_OK,
	CTL_FAILED,		/* it was refused, or did not work out; stderr says why */
	CTL_USAGE,		/* the command line is wrong */
	CTL_UNREACHABLE,	/* no daemon */
	CTL_NO_GUEST,
	CTL_MIGRATION_FAILED,
	CTL_CANCELLED,
	CTL_IN_DOUBT,
	CTL_NOT_PERMITTED,
	CTL_TIMED_OUT,
	CTL_N_STATUS,
};

struct ctl_status_row {
	const char *word;	/* in JSON */
	const char *help;
};
extern const struct ctl_status_row ctl_status_rows[CTL_N_STATUS];

#endif
