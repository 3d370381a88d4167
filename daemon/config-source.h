/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration is made of: the defaults, over them the file, over it the command line. */
#ifndef MIGD_DAEMON_CONFIG_SOURCE_H
#define MIGD_DAEMON_CONFIG_SOURCE_H

#include <stdio.h>

#include "daemon/config-file.h"

struct config_source {
	const char *path; /* of the file; NULL: there is none. Borrowed */
	const struct config *options; /* what the command line gave is set. Borrowed */
	struct config_file file; /* as it was when it was read last */
	struct config wanted; /* the layers put together */
};

/*
 * Read the file, put the layers together, check all. PATH and OPTIONS are there; what was loaded before stays unless all is
 * right. -errno: what is wrong is in REPORT.
 */
int config_source_load(struct config_source *s, struct config_report *report);
void config_source_done(struct config_source *s);

/* Who gives K its value: the file's path with *LINE, "the command line" or "the defaults" with 0. */
const char *config_source_of(const struct config_source *s, struct config_key k, unsigned int *line);

/* Write what is wanted so that it can be read as a file; with values that are no default: where they come from. */
void config_source_print(const struct config_source *s, FILE *out);

#endif
