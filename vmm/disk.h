/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk's file and its lock: an open-file-description lock on the whole file, held by the one VMM that runs the guest.
 */
#ifndef MIGD_VMM_DISK_H
#define MIGD_VMM_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct disk {
	const char *path;	/* borrowed */
	int fd;
	bool locked;
};

/* 0 or a negative errno, logged. */
int disk_open(struct disk *d, const char *path);
void disk_close(struct disk *d);

int disk_size(const struct disk *d, uint64_t *ret_bytes);

/* -EAGAIN: somebody else has it. Nothing is logged. */
int disk_lock(struct disk *d);
/* Everything written is on the disk, then unlock: another host may open it. Logged. */
int disk_flush_and_unlock(struct disk *d);

#endif
