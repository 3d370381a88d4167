/* SPDX-License-Identifier: Apache-2.0 */
/* What this process takes of the host: proc_pid_stat(5). */
#include "daemon/process-stats.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* Fields 14, 15, 20, 22, 23 and 24, counted from behind the name, which ends with the last parenthesis. */
#define STAT_FORMAT                                                                              \
	") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %u %*d %llu %llu %lld"

static double boot_seconds(void)
{
	struct timespec wall, boot;

	(void)clock_gettime(CLOCK_REALTIME, &wall);
	(void)clock_gettime(CLOCK_BOOTTIME, &boot);
	return (double)wall.tv_sec - (double)boot.tv_sec + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9;
}

int process_stats_read(struct process_stats *ret)
{
	_cleanup_close_ int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	unsigned long long user, sys, start, virtual;
	double tick = (double)sysconf(_SC_CLK_TCK);
	long long resident_pages;
	unsigned int threads;
	char text[1024];
	const char *at;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	at = strrchr(text, ')');
	if (!at || sscanf(at, STAT_FORMAT, &user, &sys, &threads, &start, &virtual, &resident_pages) != 6)
		return -EBADMSG;
	*ret = (struct process_stats){
		.cpu_seconds = (double)(user + sys) / tick,
		.start_seconds = boot_seconds() + (double)start / tick,
		.resident_bytes = resident_pages > 0 ? (uint64_t)resident_pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0,
		.virtual_bytes = virtual,
		.threads = threads,
	};
	return 0;
}

unsigned int process_count_fds(void)
{
	_cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	unsigned int n = 0;

	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	/* Not the one that this took. */
	return n > 0 ? n - 1 : 0;
}

uint64_t process_max_fds(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}
