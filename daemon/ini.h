/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of the configuration file, as that of most daemons:
 *
 *   # a comment, or with ; , has a line of its own
 *   [section]
 *   key = value
 *   key = "a value with quotes around it" or '...'; nothing is special between them
 *
 * Spaces around names and values do not count. What sections and keys there are is not known here.
 */
#ifndef MIGD_DAEMON_INI_H
#define MIGD_DAEMON_INI_H

#include <stddef.h>

#include "daemon/config-report.h"

struct ini_entry {
	unsigned int line;
	const char *section;
	const char *key; /* NULL: the line is the section's head */
	const char *value;
};

struct ini {
	char *text; /* what the entries point into */
	size_t n;
	struct ini_entry *entries;
};

/*
 * Take TEXT apart, which has LEN bytes (one more is there, to be written to) and is taken over. What is wrong goes to REPORT under
 * NAME; lines that are right are there all the same. -ENOMEM.
 */
int ini_parse(const char *name, char *text, size_t len, struct ini *ret, struct config_report *report);
void ini_done(struct ini *ini);

#endif
