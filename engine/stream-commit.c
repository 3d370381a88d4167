/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a stream that nobody answers. The guest is paused meanwhile, and the library takes it
 * back if the worker is silent: syncing a file can take longer than that lease, so a thread of its
 * own does it.
 */
#include "engine/stream-commit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/migration.h"
#include "transport/chan.h"

#define TICK_NS (100 * NS_PER_MS)

/* A command has so long to end once it has read everything; renaming a file takes no time. */
#define PUBLISH_TIMEOUT_NS (60 * NS_PER_SEC)

struct job {
	struct chan *chan;
	int done_fd;
	int result;
};

static void *run(void *opaque)
{
	struct job *job = opaque;

	job->result = chan_commit(job->chan);
	wake_raise(job->done_fd);
	return NULL;
}

/* chan_commit(), and TICK meanwhile; the first failure counts. */
static int commit_ticking(struct chan *c, int (*tick)(void *opaque), void *opaque)
{
	struct job job = { .chan = c, .done_fd = wake_new() };
	pthread_t thread;
	int r = 0;

	if (job.done_fd < 0)
		return job.done_fd;
	if (pthread_create(&thread, NULL, run, &job) != 0) {
		(void)close_fd(job.done_fd);
		return -ENOMEM;
	}
	while (fd_wait(job.done_fd, POLLIN, -1, clock_now_ns() + TICK_NS) <= 0)
		if (r == 0)
			r = tick(opaque);
	(void)pthread_join(thread, NULL);
	(void)close_fd(job.done_fd);
	return r < 0 ? r : job.result;
}

static int publish(struct migration *m, int fd, int (*tick)(void *opaque), void *opaque, struct merr *err)
{
	uint64_t deadline_ns = clock_now_ns() + PUBLISH_TIMEOUT_NS;
	int r;

	for (;;) {
		r = migration_publish(m, fd, clock_now_ns() + TICK_NS, err);
		if (r != -EAGAIN)
			return r;
		if (clock_now_ns() > deadline_ns)
			return merr_set(err, -ETIMEDOUT,
					"it did not end within %u s of reading the "
					"end of the stream",
					(unsigned int)(PUBLISH_TIMEOUT_NS / NS_PER_SEC));
		r = tick(opaque);
		if (r < 0)
			return r;
	}
}

int stream_commit(struct migration *m, struct chan *c, int (*tick)(void *opaque), void *opaque,
		  struct merr *err)
{
	int r;

	r = commit_ticking(c, tick, opaque);
	FAULT_POINT("file.durable");
	if (r < 0)
		return merr_is_set(err) ? r : merr_set_errno(err, r, "completing the stream");
	return m->start.publish ? publish(m, chan_fd(c), tick, opaque, err) : 0;
}
