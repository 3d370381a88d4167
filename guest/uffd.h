/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMM's userfaultfd: faults of its own mappings of guest memory, the vCPUs' among them, wait for a worker.
 *
 * The descriptor belongs to this process's memory, so it is made here; the worker gets a duplicate. Ours stays open until
 * nobody can wait for a page any more: when the last one of a userfaultfd closes, the kernel lets go who waits, and the
 * guest reads zeros where its memory was to come. So neither a dead worker nor a dead daemon closes it.
 *
 * For a background snapshot the worker's is the only one: what waits there waits for its old content to be copied, and when
 * the worker ends, the kernel lets it write. That needs none of our threads, which may be among those who wait.
 *
 * Not covered: what others (vhost-user back-ends) map of the same files, and what was pinned for a device.
 *
 * Service thread; and whoever frees the guest.
 */
#ifndef MIGD_GUEST_UFFD_H
#define MIGD_GUEST_UFFD_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/dirty-map.h"
#include "attach/proto.h"

struct migd_guest;

struct uffd {
	int fd;			/* -1: none */
	unsigned int mode;	/* enum attach_uffd_mode */
	uint64_t features;	/* that are on */
};

/* Which pages are as they are to be: a map per RAM block, written by workers only, kept from one to the next. */
struct received {
	int fds[ATTACH_RAM_BLOCKS_MAX];
	size_t n;		/* 0: none yet */
};

/* Pages may be missing: threads that touch guest memory may wait, which the service thread never should. */
bool uffd_is_open(const struct migd_guest *g);

/* Nobody has to wait any more: take the registration back, close; and drop the received maps. */
void uffd_end(struct migd_guest *g);

#endif
