/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a configuration: all of it, not only what was found first. */
#ifndef MIGD_DAEMON_CONFIG_REPORT_H
#define MIGD_DAEMON_CONFIG_REPORT_H

#include <stddef.h>

#include "base/err.h"

/* So many are kept; the others are only counted. */
#define CONFIG_REPORT_MAX 50

/* All zero is an empty one. */
struct config_report {
	size_t n; /* found */
	char *lines[CONFIG_REPORT_MAX]; /* "FILE:LINE: what is wrong"; NULL: there was no memory for it */
	unsigned int at[CONFIG_REPORT_MAX]; /* their lines, which they are sorted by */
};

/* FILE: also "the command line". LINE 0: of none. */
void config_report_add(struct config_report *r, const char *file, unsigned int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Hand each to FN, and at the end how many more there were. */
void config_report_each(const struct config_report *r, void (*fn)(const char *line));

/* -EINVAL with ERR: as many of them as an error text holds. */
int config_report_to_err(const struct config_report *r, struct merr *err);

void config_report_done(struct config_report *r);

#endif
