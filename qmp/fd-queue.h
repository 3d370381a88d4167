/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that came with a stream of bytes. A batch belongs to the position of the byte it came
 * with, and is claimed by the command whose bytes that position is in or before; a later batch
 * replaces an unclaimed one. QMP.md 1.9.
 */
#ifndef MIGD_QMP_FD_QUEUE_H
#define MIGD_QMP_FD_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "qmp/limits.h"

struct fd_batch {
	uint64_t position;	/* in the stream, of the byte it came with */
	size_t n;
	int fds[QMP_MAX_FDS];
};

/* Zero-initialise. */
struct fd_queue {
	struct fd_batch batches[QMP_MAX_FD_BATCHES];
	size_t n;
};

/*
 * Take the descriptors out of a received message whose first byte is at POSITION. Those beyond a
 * limit are closed.
 */
void fd_queue_add(struct fd_queue *q, struct msghdr *msg, uint64_t position);

/*
 * The newest batch from before POSITION, into RET (which is closed first if there is one). Older
 * ones are closed.
 */
void fd_queue_claim(struct fd_queue *q, uint64_t position, struct fd_batch *ret);

void fd_queue_done(struct fd_queue *q);

/* The first one, or -1; the rest is closed. */
int fd_batch_take(struct fd_batch *b);
void fd_batch_done(struct fd_batch *b);

#endif
