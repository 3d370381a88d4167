/* SPDX-License-Identifier: Apache-2.0 */
/* Reading small files. */
#include "ctl/doctor/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *doctor_read_line(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");

	if (!f || !fgets(buf, (int)len, f))
		buf[0] = '\0';
	if (f)
		(void)fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
	return buf;
}

int64_t doctor_read_number(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	size_t len = strlen(key);
	int64_t number = -1;
	char line[256];

	while (f && number < 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, key, len) == 0 && line[len] == ':')
			number = strtoll(line + len + 1, NULL, 10);
	if (f)
		(void)fclose(f);
	return number;
}
