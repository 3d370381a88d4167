/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of pages on their way from the thread that makes them to the one that writes them, so many at most: whoever makes
 * one waits for room first. Between two threads; each function says whose it is.
 */
#ifndef MIGD_ENGINE_SNAPSHOT_QUEUE_H
#define MIGD_ENGINE_SNAPSHOT_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/ram.h"

/* Pages of one copy: those of one word of a bitmap. */
#define SNAPSHOT_COPY_PAGES 64U
#define SNAPSHOT_COPY_BYTES (SNAPSHOT_COPY_PAGES * WIRE_PAGE_SIZE)

struct snapshot_copy {
	struct ram_file *block;
	uint64_t page;		/* a multiple of SNAPSHOT_COPY_PAGES */
	uint64_t mask;		/* bit k: page + k is there, at its place in `data` */
	uint8_t *data;		/* SNAPSHOT_COPY_BYTES */
	struct snapshot_copy *next;	/* the queue's */
};

struct snapshot_queue;

/* Room for N copies. NULL: no memory. Freed when neither thread uses it any more. */
struct snapshot_queue *snapshot_queue_new(size_t n);
struct snapshot_queue *snapshot_queue_free(struct snapshot_queue *q);

/* The maker's. An empty copy, for which it waits; NULL: nobody wants one any more. */
struct snapshot_copy *snapshot_queue_room(struct snapshot_queue *q);
void snapshot_queue_push(struct snapshot_queue *q, struct snapshot_copy *c);
/* The maker makes no more, because of ERR if that is set. */
void snapshot_queue_end(struct snapshot_queue *q, const struct merr *err);

/*
 * The writer's: 1: *ret is the next copy; 0: there is none, and none came until DEADLINE_NS; -ENODATA: there will be none; or
 * why the maker ended, in ERR.
 */
int snapshot_queue_take(struct snapshot_queue *q, uint64_t deadline_ns, struct snapshot_copy **ret, struct merr *err);
/* Nothing more is written. */
void snapshot_queue_give_up(struct snapshot_queue *q);

/* Either's: a copy that is not needed any more, or was not after all. */
void snapshot_queue_return(struct snapshot_queue *q, struct snapshot_copy *c);

#endif
