/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that write pages to a file, or read them from it, while the migration thread goes on finding more. Short runs of
 * pages travel together. The migration thread's; the function that does the work runs on the pool's threads.
 */
#ifndef MIGD_ENGINE_MAPPED_POOL_H
#define MIGD_ENGINE_MAPPED_POOL_H

#include <sys/types.h>

#include "base/err.h"
#include "engine/ram.h"

/* More do not make a disk faster; each has a buffer. */
#define MAPPED_THREADS_MAX 64U
/* The longest run, and each thread's buffer. */
#define MAPPED_RUN_PAGES 512U

/* Pages of a block. */
struct mapped_run {
	struct ram_file *b;
	uint64_t page, n;
	bool dense;	/* no hole in it, as far as is known */
};

struct mapped_thread {
	unsigned int index;
	pid_t tid;		/* the kernel's number of it */
	uint8_t *buffer;	/* MAPPED_RUN_PAGES, aligned to pages */
};

struct mapped_pool;

/* 0 or -errno with ERR: nothing more is done then. */
typedef int (*mapped_run_fn)(void *opaque, struct mapped_thread *t, const struct mapped_run *run, struct merr *err);

/* NAME: of the threads, which get a number behind it. CANCEL_FD ends every wait. -errno with ERR. */
int mapped_pool_new(const char *name, unsigned int n_threads, mapped_run_fn fn, void *opaque, int cancel_fd,
		    struct mapped_pool **ret, struct merr *err);
/* What is not begun is forgotten. NULL is fine; returns NULL. */
struct mapped_pool *mapped_pool_free(struct mapped_pool *p);

/* 0: it will be done; -EAGAIN: all are busy, and nothing was taken; -ECANCELED; or what failed, with ERR. */
int mapped_pool_add(struct mapped_pool *p, const struct mapped_run *run, struct merr *err);
/* 0: all that was added is done; else as above. */
int mapped_pool_drain(struct mapped_pool *p, struct merr *err);

#endif
