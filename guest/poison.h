/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of guest memory that are damaged: what the VMM learned by SIGBUS, or a source said of the guest that arrived. They are
 * never healed; the guest takes the list along.
 */
#ifndef MIGD_GUEST_POISON_H
#define MIGD_GUEST_POISON_H

#include <pthread.h>
#include <stdint.h>

/* A machine with more damage than this should not run a guest any more. */
#define POISON_RANGES_MAX 1024U

struct poison_range {
	uint32_t block;
	uint64_t first_page;
	uint64_t n_pages;
};

/* Ranges are only ever added. */
struct poison {
	pthread_mutex_t lock;
	struct poison_range ranges[POISON_RANGES_MAX];
	uint32_t n;
};

#endif
