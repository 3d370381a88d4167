/* SPDX-License-Identifier: Apache-2.0 */
/* The options of migctl: a number, and a row of ctl_options[] each. */
#ifndef MIGD_CTL_OPTIONS_H
#define MIGD_CTL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct ctl;

enum ctl_option {
	/* Every command takes these. */
	CTL_OPT_SOCKET,
	CTL_OPT_GUEST,
	CTL_OPT_JSON,
	CTL_OPT_HELP,
	CTL_OPT_VERSION,
	/* These only who says so: struct ctl_command's options. */
	CTL_OPT_TIMEOUT,
	CTL_OPT_DETACH,
	CTL_OPT_PREFLIGHT,
	CTL_OPT_WAIT,
	CTL_OPT_LAZY,
	CTL_OPT_PRIORITY,
	CTL_OPT_STRATEGY,
	CTL_OPT_DEADLINE,
	CTL_OPT_FENCED,
	CTL_OPT_LAST,
	CTL_OPT_VCPU,
	CTL_OPT_COUNT,
	CTL_OPT_PEER,
	CTL_OPT_TLS_DIR,
	CTL_OPT_STATE_DIR,
	CTL_OPT_KEEP_GOING,
	CTL_OPT_START_REMOTE,
	CTL_OPT_ALLOW_WEAK_HANDOVER,
	CTL_OPT_CLOSE,
	CTL_OPT_MAN,
	CTL_OPT_OUTPUT,
	CTL_OPT_TEXT,
	CTL_N_OPTIONS,
};
_Static_assert(CTL_N_OPTIONS <= 64, "they are bits of struct ctl_command's options");

#define CTL_TAKES(option) (UINT64_C(1) << (option))
#define CTL_TAKEN_BY_ALL (CTL_TAKES(CTL_OPT_VERSION + 1) - 1)

struct ctl_option_row {
	const char *name;
	char letter;	/* 0: it has none */
	const char *value;	/* its kind (ctl/kinds.c); NULL: it has none */
	const char *help;	/* one line */
};
extern const struct ctl_option_row ctl_options[CTL_N_OPTIONS];

struct ctl_command;

/* The options that a command takes, those of all included. */
uint64_t ctl_options_of(const struct ctl_command *c);

/* Fill CTL's given, n_args and args from a command line, whose words are put in another order. CTL_OK, or CTL_USAGE with ERR. */
int ctl_options_parse(int argc, char **argv, struct ctl *ctl, struct merr *err);

#endif
