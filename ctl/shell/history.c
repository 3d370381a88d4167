/* SPDX-License-Identifier: Apache-2.0 */
/* The history's file. */
#include "ctl/shell/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

/* All folders that PATH is in. */
static bool make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int r;

		*slash = '\0';
		r = mkdir(path, 0700);
		*slash = '/';
		if (r < 0 && errno != EEXIST)
			return false;
	}
	return true;
}

const char *history_file(char *buf, size_t len)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	_cleanup_close_ int fd = -1;
	int n;

	if (state && *state == '/')
		n = snprintf(buf, len, "%s/migctl/history", state);
	else if (home && *home == '/')
		n = snprintf(buf, len, "%s/.local/state/migctl/history", home);
	else
		return NULL;
	if (n < 0 || (size_t)n >= len || !make_folders(buf))
		return NULL;
	fd = open(buf, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? NULL : buf;
}

bool history_wants(const char *line)
{
	return *line && *line != ' ' && *line != '\t' && !strstr(line, "data=") && !strstr(line, "\"data\"");
}
