/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers: failing with a sentence, logging, scope cleanup, reading a whole file. */
#ifndef MIGD_VMM_UTIL_H
#define MIGD_VMM_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define ALIGN_UP(x, a) (((x) + (a)-1) / (a) * (a))

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* Names the lines of this process's log. Before any thread is made. */
void log_set_name(const char *name);

/* One line to stderr; LEVEL is a syslog level. Any thread. */
__attribute__((format(printf, 2, 3))) void note(int level, const char *fmt, ...);

/* Log why something cannot be done, and return ERROR (a negative errno), so that "return fail(...)" does. */
__attribute__((format(printf, 2, 3))) int fail(int error, const char *fmt, ...);

/*
 * The whole of a regular file in memory (malloc), at most MAX bytes. 0 or a negative errno, logged.
 */
int read_file(const char *path, size_t max, uint8_t **ret_data, size_t *ret_len);

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

/* Hand over a descriptor that scope cleanup would close. */
static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))

#endif
