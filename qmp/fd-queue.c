/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that came with a stream of bytes. */
#include "qmp/fd-queue.h"

#include <string.h>

#include "base/cleanup.h"

void fd_batch_done(struct fd_batch *b)
{
	while (b->n > 0)
		(void)close_fd(b->fds[--b->n]);
}

int fd_batch_take(struct fd_batch *b)
{
	int fd = -1;

	if (b->n > 0) {
		fd = b->fds[0];
		b->fds[0] = b->fds[--b->n];
		fd_batch_done(b);
	}
	return fd;
}

void fd_queue_done(struct fd_queue *q)
{
	while (q->n > 0)
		fd_batch_done(&q->batches[--q->n]);
}

static void batch_add(struct fd_batch *b, const struct cmsghdr *c)
{
	size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int fd;

	for (i = 0; i < n; i++) {
		memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
		if (b->n < QMP_MAX_FDS)
			b->fds[b->n++] = fd;
		else
			(void)close_fd(fd);
	}
}

void fd_queue_add(struct fd_queue *q, struct msghdr *msg, uint64_t position)
{
	struct fd_batch batch = { .position = position };
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			batch_add(&batch, c);
	}
	if (batch.n == 0)
		return;
	if (q->n == QMP_MAX_FD_BATCHES)
		fd_batch_done(&batch);
	else
		q->batches[q->n++] = batch;
}

void fd_queue_claim(struct fd_queue *q, uint64_t position, struct fd_batch *ret)
{
	size_t n = 0;

	while (n < q->n && q->batches[n].position < position) {
		fd_batch_done(ret);
		*ret = q->batches[n++];
	}
	q->n -= n;
	memmove(q->batches, q->batches + n, q->n * sizeof(q->batches[0]));
}
