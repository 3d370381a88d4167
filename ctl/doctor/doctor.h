/* SPDX-License-Identifier: Apache-2.0 */
/* `migctl doctor`: is this host fit for migrations? A group of checks a file; each says what it found. */
#ifndef MIGD_CTL_DOCTOR_H
#define MIGD_CTL_DOCTOR_H

#include "ctl/ctl.h"

enum doctor_result {
	DOCTOR_OK,
	DOCTOR_WARNING,	/* something will not work, or not as well as it could */
	DOCTOR_PROBLEM,	/* migrations fail */
	DOCTOR_N_RESULTS,
};

struct doctor {
	struct ctl *ctl;	/* its client is there once the daemon was reached */
	const char *state_dir;
	const char *group;	/* of the checks that are run now */
	json_t *findings;	/* a list of {"group", "check", "result", "found", "advice"} */
	unsigned int count[DOCTOR_N_RESULTS];
};

/* What a check found, and what to do about it (NULL: nothing). */
void doctor_say(struct doctor *d, enum doctor_result result, const char *check, const char *advice, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

void doctor_check_kvm(struct doctor *d);
void doctor_check_userfaultfd(struct doctor *d);
void doctor_check_memory(struct doctor *d);
void doctor_check_clock(struct doctor *d);
void doctor_check_kernel(struct doctor *d);
void doctor_check_daemon(struct doctor *d);
void doctor_check_tls(struct doctor *d);
void doctor_check_peer(struct doctor *d);

#endif
