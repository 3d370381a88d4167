/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of pages, between two threads. */
#include "engine/snapshot-queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"

struct snapshot_queue {
	pthread_mutex_t lock;
	pthread_cond_t room;	/* a copy came back, or `given_up` */
	pthread_cond_t filled;	/* a copy came, or `ended` */
	/* Under `lock`. */
	struct snapshot_copy *first, *last;
	struct snapshot_copy *empty;	/* the one used last comes first: its memory is there, and in the cache */
	bool given_up, ended;
	struct merr why;	/* it ended */

	uint8_t *data;
	size_t n;
	struct snapshot_copy copies[];
};

struct snapshot_queue *snapshot_queue_new(size_t n)
{
	struct snapshot_queue *q = calloc(1, sizeof(*q) + n * sizeof(q->copies[0]));
	pthread_condattr_t attr;

	if (!q)
		return NULL;
	/* Of this only what is used is ever there. */
	q->data = mmap(NULL, n * SNAPSHOT_COPY_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (q->data == MAP_FAILED) {
		free(q);
		return NULL;
	}
	q->n = n;
	for (size_t i = n; i-- > 0;) {
		q->copies[i] = (struct snapshot_copy){ .data = q->data + i * SNAPSHOT_COPY_BYTES, .next = q->empty };
		q->empty = &q->copies[i];
	}
	(void)pthread_mutex_init(&q->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&q->room, &attr);
	(void)pthread_cond_init(&q->filled, &attr);
	(void)pthread_condattr_destroy(&attr);
	return q;
}

struct snapshot_queue *snapshot_queue_free(struct snapshot_queue *q)
{
	if (!q)
		return NULL;
	(void)munmap(q->data, q->n * SNAPSHOT_COPY_BYTES);
	(void)pthread_cond_destroy(&q->filled);
	(void)pthread_cond_destroy(&q->room);
	(void)pthread_mutex_destroy(&q->lock);
	free(q);
	return NULL;
}

struct snapshot_copy *snapshot_queue_room(struct snapshot_queue *q)
{
	LOCK_SCOPE(&q->lock);
	struct snapshot_copy *c;

	while (!q->given_up && !q->empty)
		(void)pthread_cond_wait(&q->room, &q->lock);
	if (q->given_up)
		return NULL;
	c = q->empty;
	q->empty = c->next;
	c->next = NULL;
	return c;
}

void snapshot_queue_push(struct snapshot_queue *q, struct snapshot_copy *c)
{
	LOCK_SCOPE(&q->lock);

	FAULT_POINT("snapshot.page-copied");
	if (q->last)
		q->last->next = c;
	else
		q->first = c;
	q->last = c;
	(void)pthread_cond_signal(&q->filled);
}

void snapshot_queue_end(struct snapshot_queue *q, const struct merr *err)
{
	LOCK_SCOPE(&q->lock);

	q->ended = true;
	q->why = *err;
	(void)pthread_cond_signal(&q->filled);
}

int snapshot_queue_take(struct snapshot_queue *q, uint64_t deadline_ns, struct snapshot_copy **ret, struct merr *err)
{
	struct timespec until = { .tv_sec = (time_t)(deadline_ns / NS_PER_SEC),
				  .tv_nsec = (long)(deadline_ns % NS_PER_SEC) };
	LOCK_SCOPE(&q->lock);

	while (!q->first && !q->ended)
		if (clock_now_ns() >= deadline_ns ||
		    pthread_cond_timedwait(&q->filled, &q->lock, &until) == ETIMEDOUT)
			break;
	if (merr_is_set(&q->why))
		return merr_copy(err, &q->why);
	if (!q->first)
		return q->ended ? -ENODATA : 0;
	*ret = q->first;
	q->first = q->first->next;
	if (!q->first)
		q->last = NULL;
	(*ret)->next = NULL;
	return 1;
}

void snapshot_queue_give_up(struct snapshot_queue *q)
{
	LOCK_SCOPE(&q->lock);

	q->given_up = true;
	(void)pthread_cond_signal(&q->room);
}

void snapshot_queue_return(struct snapshot_queue *q, struct snapshot_copy *c)
{
	LOCK_SCOPE(&q->lock);

	c->next = q->empty;
	q->empty = c;
	(void)pthread_cond_signal(&q->room);
}
