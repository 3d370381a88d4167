/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers: failing with a sentence, logging, reading a whole file. */
#include "vmm/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *log_name = "";

void log_set_name(const char *name)
{
	log_name = name;
}

static void log_line(int level, const char *fmt, va_list ap)
{
	static const char *const level_name[] = { "emergency", "alert",	 "critical", "error",
						  "warning",   "notice", "info",     "debug" };
	char text[1024];
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	(void)fprintf(stderr, "migd-vmm%s%s: %s: %s\n", log_name[0] ? " " : "", log_name,
		      level_name[level & 7], text);
}

void note(int level, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	log_line(level, fmt, ap);
	va_end(ap);
}

int fail(int error, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	log_line(LOG_ERR, fmt, ap);
	va_end(ap);
	return error;
}

int read_file(const char *path, size_t max, uint8_t **ret_data, size_t *ret_len)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(-errno, "cannot open '%s': %m", path);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return fail(-errno, "cannot stat '%s': %m", path);
	if (!S_ISREG(st.st_mode))
		return fail(-EINVAL, "'%s' is not a regular file", path);
	if ((uint64_t)st.st_size > max)
		return fail(-EFBIG, "'%s' has %lld bytes, more than the %zu that fit", path,
			    (long long)st.st_size, max);
	size_t len = (size_t)st.st_size, done = 0;
	_cleanup_free_ uint8_t *data = malloc(len + 1);
	if (!data)
		return fail(-ENOMEM, "no memory for the %zu bytes of '%s'", len, path);
	while (done < len) {
		ssize_t n = read(fd, data + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(n < 0 ? -errno : -EIO, "cannot read '%s' at byte %zu: %s", path,
				    done, n < 0 ? strerrordesc_np(errno) : "it became shorter");
		done += (size_t)n;
	}
	*ret_data = data;
	*ret_len = len;
	data = NULL;
	return 0;
}
