/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: daemon/ini.h's form, schema/config.json's sections and keys. */
#ifndef MIGD_DAEMON_CONFIG_FILE_H
#define MIGD_DAEMON_CONFIG_FILE_H

#include <stddef.h>

#include "daemon/config-report.h"
#include "daemon/config.h"

#define CONFIG_FILE_MAX_BYTES (1024 * 1024)

struct config_line {
	const struct schema_member *key;
	unsigned int line;
};

struct config_file {
	char *path;
	struct config given; /* what is in the file is set, and nothing else */
	size_t n_lines;
	struct config_line *lines;
};

/*
 * Read PATH whole, and check each value. -EINVAL: what is wrong is in REPORT, all of it; another -errno: it could not be
 * read, which is in REPORT too. RET is then all zero.
 */
int config_file_read(const char *path, struct config_file *ret, struct config_report *report);

/* The same of TEXT, whose LEN bytes are followed by one that is written to, and which is taken over. */
int config_file_parse(const char *path, char *text, size_t len, struct config_file *ret, struct config_report *report);

/* Where K is set in it, or 0. */
unsigned int config_file_line(const struct config_file *file, struct config_key k);

void config_file_done(struct config_file *file);

#endif
