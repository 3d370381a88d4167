/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's command line. */
#ifndef MIGD_DAEMON_OPTIONS_H
#define MIGD_DAEMON_OPTIONS_H

#include <stdbool.h>

#include "base/err.h"
#include "schema/types.h"

struct options {
	struct config given; /* what an option sets is set, and nothing else: it goes over the file's */
	const char *config_file; /* NULL: none is read */
	bool foreground;
	bool help, version, check_config, print_config; /* print and leave */
};

/*
 * Read ARGV into *RET, which borrows from it. -EINVAL, -ENOMEM with ERR naming the option and what is right; RET is then all
 * zero.
 */
int options_parse(int argc, char *argv[], struct options *ret, struct merr *err);
void options_done(struct options *o);

/* What --help prints. */
const char *options_help(void);

#endif
