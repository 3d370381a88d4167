/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's command line. */
#ifndef MIGD_DAEMON_OPTIONS_H
#define MIGD_DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* As many shared ports as there can be. */
#define OPTIONS_LISTEN_MAX 16

struct options {
	const char *qmp_path;
	const char *attach_path;
	const char *state_dir;
	const char *listen[OPTIONS_LISTEN_MAX]; /* URIs of shared ports */
	size_t n_listen;
	int log_level;
	bool allow_exec; /* exec: addresses */
	bool foreground;
	bool help, version; /* print and leave */
};

/*
 * Read ARGV into *RET, whose strings borrow it. -EINVAL with ERR naming the option and what is
 * right.
 */
int options_parse(int argc, char *argv[], struct options *ret, struct merr *err);

/* What --help prints. */
const char *options_help(void);

#endif
