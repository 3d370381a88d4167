/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that move pages between memory and a file. */
#include "engine/mapped-pool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "engine/ram-sink.h"

/* Short runs are gathered up to so many, or MAPPED_RUN_PAGES pages: handing something over costs microseconds. */
#define JOB_RUNS 64U

struct job {
	size_t n;
	uint64_t n_pages;
	struct mapped_run runs[JOB_RUNS];
};

struct member {
	struct mapped_pool *pool;
	struct mapped_thread thread;
	pthread_t id;
	char name[16];
};

struct mapped_pool {
	mapped_run_fn fn;
	void *opaque;
	int cancel_fd;
	unsigned int n_threads;
	struct job batch;	/* the migration thread's */

	pthread_mutex_t lock;
	pthread_cond_t work;	/* something is queued, or `stop` */
	pthread_cond_t done;	/* something is done */
	/* Under `lock`. */
	bool stop;
	struct merr err;	/* the first failure */
	struct job *ring;	/* as many as there are threads */
	size_t head, n_queued, n_busy;

	struct member members[];
};

static void note(struct mapped_pool *p, const struct merr *err)
{
	LOCK_SCOPE(&p->lock);

	if (!merr_is_set(&p->err))
		p->err = *err;
}

static bool failed(struct mapped_pool *p)
{
	LOCK_SCOPE(&p->lock);

	return p->stop || merr_is_set(&p->err);
}

/* The next job; false: there will be none. */
static bool take(struct mapped_pool *p, struct job *ret)
{
	LOCK_SCOPE(&p->lock);

	while (!p->stop && p->n_queued == 0)
		(void)pthread_cond_wait(&p->work, &p->lock);
	if (p->stop)
		return false;
	*ret = p->ring[p->head];
	p->head = (p->head + 1) % p->n_threads;
	p->n_queued--;
	p->n_busy++;
	return true;
}

static void finished(struct mapped_pool *p)
{
	LOCK_SCOPE(&p->lock);

	p->n_busy--;
	(void)pthread_cond_signal(&p->done);
}

static void *run(void *opaque)
{
	struct member *m = opaque;
	struct mapped_pool *p = m->pool;
	struct merr err = MERR_INIT;
	struct job job;

	(void)pthread_setname_np(pthread_self(), m->name);
	m->thread.tid = gettid();
	while (take(p, &job)) {
		for (size_t i = 0; i < job.n && !failed(p); i++)
			if (p->fn(p->opaque, &m->thread, &job.runs[i], &err) < 0)
				note(p, &err);
		finished(p);
	}
	return NULL;
}

static void init_wakeups(struct mapped_pool *p)
{
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->work, &attr);
	(void)pthread_cond_init(&p->done, &attr);
	(void)pthread_condattr_destroy(&attr);
}

/* -errno; then it is to be freed all the same. */
static int start(struct mapped_pool *p, const char *name, unsigned int n_threads)
{
	struct member *m;
	int r;

	p->ring = calloc(n_threads, sizeof(*p->ring));
	if (!p->ring)
		return -ENOMEM;
	for (; p->n_threads < n_threads; p->n_threads++) {
		m = &p->members[p->n_threads];
		m->pool = p;
		m->thread.index = p->n_threads;
		m->thread.buffer = aligned_alloc(WIRE_PAGE_SIZE, MAPPED_RUN_PAGES * WIRE_PAGE_SIZE);
		(void)snprintf(m->name, sizeof(m->name), "%s%u", name, p->n_threads);
		r = m->thread.buffer ? pthread_create(&m->id, NULL, run, m) : ENOMEM;
		if (r != 0) {
			free(m->thread.buffer);
			return -r;
		}
	}
	return 0;
}

int mapped_pool_new(const char *name, unsigned int n_threads, mapped_run_fn fn, void *opaque, int cancel_fd,
		    struct mapped_pool **ret, struct merr *err)
{
	struct mapped_pool *p;
	int r = -ENOMEM;

	n_threads = n_threads < MAPPED_THREADS_MAX ? n_threads : MAPPED_THREADS_MAX;
	p = calloc(1, sizeof(*p) + n_threads * sizeof(p->members[0]));
	if (p) {
		p->fn = fn;
		p->opaque = opaque;
		p->cancel_fd = cancel_fd;
		init_wakeups(p);
		r = start(p, name, n_threads);
	}
	if (r < 0) {
		(void)mapped_pool_free(p);
		return merr_set_errno(err, r, "starting %u threads for a file", n_threads);
	}
	*ret = p;
	return 0;
}

static void stop(struct mapped_pool *p)
{
	LOCK_SCOPE(&p->lock);

	p->stop = true;
	(void)pthread_cond_broadcast(&p->work);
}

struct mapped_pool *mapped_pool_free(struct mapped_pool *p)
{
	if (!p)
		return NULL;
	stop(p);
	for (unsigned int i = 0; i < p->n_threads; i++) {
		(void)pthread_join(p->members[i].id, NULL);
		free(p->members[i].thread.buffer);
	}
	free(p->ring);
	(void)pthread_cond_destroy(&p->work);
	(void)pthread_cond_destroy(&p->done);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

/* Wait a little for room in the queue, or until all is done. Lock held. */
static int await(struct mapped_pool *p, bool all, struct merr *err)
{
	uint64_t until_ns = clock_now_ns() + RAM_SINK_WAIT_MS * NS_PER_MS;
	struct timespec until = { .tv_sec = (time_t)(until_ns / NS_PER_SEC), .tv_nsec = (long)(until_ns % NS_PER_SEC) };

	while (!merr_is_set(&p->err) && (all ? p->n_queued + p->n_busy > 0 : p->n_queued == p->n_threads))
		if (pthread_cond_timedwait(&p->done, &p->lock, &until) == ETIMEDOUT)
			return -EAGAIN;
	return merr_is_set(&p->err) ? merr_copy(err, &p->err) : 0;
}

/* Queue the batch, if there is one. */
static int hand_over(struct mapped_pool *p, struct merr *err)
{
	int r;

	if (fd_wait(p->cancel_fd, POLLIN, -1, 0) > 0)
		return merr_set(err, -ECANCELED, "cancelled");
	if (p->batch.n == 0)
		return 0;
	LOCK_SCOPE(&p->lock);
	r = await(p, false, err);
	if (r < 0)
		return r;
	p->ring[(p->head + p->n_queued++) % p->n_threads] = p->batch;
	p->batch.n = 0;
	p->batch.n_pages = 0;
	(void)pthread_cond_signal(&p->work);
	return 0;
}

int mapped_pool_add(struct mapped_pool *p, const struct mapped_run *r, struct merr *err)
{
	int res = 0;

	if (p->batch.n == JOB_RUNS || p->batch.n_pages + r->n > MAPPED_RUN_PAGES)
		res = hand_over(p, err);
	if (res < 0)
		return res;
	p->batch.runs[p->batch.n++] = *r;
	p->batch.n_pages += r->n;
	return 0;
}

int mapped_pool_drain(struct mapped_pool *p, struct merr *err)
{
	int r = hand_over(p, err);

	if (r < 0)
		return r;
	LOCK_SCOPE(&p->lock);
	return await(p, true, err);
}
