/* SPDX-License-Identifier: Apache-2.0 */
/* What this process takes of the host, from /proc/self. */
#ifndef MIGD_DAEMON_PROCESS_STATS_H
#define MIGD_DAEMON_PROCESS_STATS_H

#include <stdint.h>

struct process_stats {
	double cpu_seconds;	/* user and system */
	double start_seconds;	/* since 1970 */
	uint64_t resident_bytes, virtual_bytes;
	unsigned int threads;
};

/* 0 or -errno: /proc is not as it is known. */
int process_stats_read(struct process_stats *ret);

unsigned int process_count_fds(void);
/* UINT64_MAX: no limit. */
uint64_t process_max_fds(void);

#endif
