/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's channels of multifd: threads, sync points, the first error. engine/multifd-receive.c takes packets. */
#include "engine/multifd-target.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/multifd-receive.h"

/* A sync point that waits so long while no channel brings anything is given up. */
#define SYNC_TIMEOUT_MS 60000

#define EOF_TEXT "the source closed it before the end of the migration; its log may say why"

struct channel {
	struct multifd_target *set;
	unsigned int id;
	struct chan *chan;		/* NULL: not there yet */
	struct multifd_receiver *receiver;
	struct merr err;		/* the thread's, and in->err */
	pthread_t thread;
	bool started;

	/* Under the set's lock. */
	bool synced;	/* its SYNC came, and it waits to be let go on */
	bool ended;	/* the source closed it */
};

struct multifd_target {
	struct ram *ram;
	struct stats_page *stats;
	enum multi_fd_compression codec;
	int cancel_fd;	/* the migration's; borrowed */
	int stop_fd;	/* wake: threads are to end */
	int failed_fd;	/* wake: a channel failed */
	int event_fd;	/* wake: the migration thread is to look */
	int either_fd;	/* epoll: cancel_fd or failed_fd */
	uint64_t seen_bytes;	/* migration thread: progress */
	unsigned int n_added;

	pthread_mutex_t lock;
	pthread_cond_t go_on;
	/* Under `lock`. */
	uint64_t round;		/* sync points that are over */
	bool stopping;
	struct merr error;	/* the first */

	unsigned int n;
	struct channel channels[];
};

static int watch_both(struct multifd_target *t)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (t->either_fd < 0 || epoll_ctl(t->either_fd, EPOLL_CTL_ADD, t->failed_fd, &ev) < 0)
		return -errno;
	if (t->cancel_fd >= 0 && epoll_ctl(t->either_fd, EPOLL_CTL_ADD, t->cancel_fd, &ev) < 0)
		return -errno;
	return 0;
}

struct multifd_target *multifd_target_new(struct ram *ram, struct stats_page *stats, unsigned int n,
					  enum multi_fd_compression codec, int cancel_fd)
{
	struct multifd_target *t = calloc(1, sizeof(*t) + n * sizeof(t->channels[0]));

	if (!t)
		return NULL;
	t->ram = ram;
	t->stats = stats;
	t->codec = codec;
	t->cancel_fd = cancel_fd;
	t->n = n;
	for (unsigned int i = 0; i < n; i++)
		t->channels[i] = (struct channel){ .set = t, .id = i };
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_cond_init(&t->go_on, NULL);
	t->stop_fd = wake_new();
	t->failed_fd = wake_new();
	t->event_fd = wake_new();
	t->either_fd = epoll_create1(EPOLL_CLOEXEC);
	if (t->stop_fd < 0 || t->failed_fd < 0 || t->event_fd < 0 || watch_both(t) < 0)
		return multifd_target_free(t);
	return t;
}

struct multifd_target *multifd_target_free(struct multifd_target *t)
{
	if (!t)
		return NULL;
	multifd_target_stop(t);
	for (unsigned int i = 0; i < t->n; i++) {
		(void)multifd_receiver_free(t->channels[i].receiver);
		(void)chan_free(t->channels[i].chan);
	}
	(void)close_fd(t->stop_fd);
	(void)close_fd(t->failed_fd);
	(void)close_fd(t->event_fd);
	(void)close_fd(t->either_fd);
	(void)pthread_cond_destroy(&t->go_on);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}

int multifd_target_add(struct multifd_target *t, unsigned int id, struct chan *chan)
{
	if (id >= t->n)
		return -EINVAL;
	if (t->channels[id].chan)
		return -EEXIST;
	FAULT_POINT("multifd.channel-accepted");
	t->channels[id].chan = chan;
	t->n_added++;
	return 0;
}

unsigned int multifd_target_count(const struct multifd_target *t)
{
	return t->n_added;
}

bool multifd_target_has(const struct multifd_target *t, unsigned int id)
{
	return id < t->n && t->channels[id].chan;
}

int multifd_target_cancel_fd(const struct multifd_target *t)
{
	return t->either_fd;
}

/* ---- a channel's thread ---- */

/* The first error of any channel is the migration's. */
static void fail(struct multifd_target *t, const struct channel *c, const struct merr *why)
{
	LOCK_SCOPE(&t->lock);

	/* What stopping did to it is no error. */
	if (!t->stopping && !merr_is_set(&t->error)) {
		t->error = *why;
		(void)merr_prefix(&t->error, "multifd channel %u", c->id);
	}
	wake_raise(t->failed_fd);
	wake_raise(t->event_fd);
}

/* Its SYNC came. False: the end. */
static bool wait_for_release(struct channel *c)
{
	struct multifd_target *t = c->set;
	LOCK_SCOPE(&t->lock);
	uint64_t round = t->round;

	FAULT_POINT("multifd.sync-received");
	c->synced = true;
	wake_raise(t->event_fd);
	while (t->round == round && !t->stopping)
		(void)pthread_cond_wait(&t->go_on, &t->lock);
	return !t->stopping;
}

static void note_end(struct channel *c)
{
	LOCK_SCOPE(&c->set->lock);

	c->ended = true;
	wake_raise(c->set->event_fd);
}

static void *receive(void *opaque)
{
	struct channel *c = opaque;
	char name[16];
	int r;

	(void)snprintf(name, sizeof(name), "mig/dst/recv_%u", c->id);
	(void)pthread_setname_np(pthread_self(), name);
	do {
		r = multifd_receive(c->receiver);
		if (r == MULTIFD_RECEIVED_SYNC && !wait_for_release(c))
			return NULL;
	} while (r >= 0 && r != MULTIFD_RECEIVED_END);
	if (r < 0)
		fail(c->set, c, &c->err);
	else
		note_end(c);
	return NULL;
}

int multifd_target_start(struct multifd_target *t, struct merr *err)
{
	int r;

	for (unsigned int i = 0; i < t->n; i++) {
		struct channel *c = &t->channels[i];

		chan_set_cancel(c->chan, t->stop_fd);
		c->receiver = multifd_receiver_new(c->chan, t->ram, t->stats, t->codec, &c->err);
		if (!c->receiver)
			return merr_copy(err, &c->err);
		r = -pthread_create(&c->thread, NULL, receive, c);
		if (r < 0)
			return merr_set_errno(err, r, "multifd: no thread for channel %u of %u", i, t->n);
		c->started = true;
	}
	return 0;
}

void multifd_target_stop(struct multifd_target *t)
{
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_broadcast(&t->go_on);
	pthread_mutex_unlock(&t->lock);
	wake_raise(t->stop_fd);
	for (unsigned int i = 0; i < t->n; i++) {
		if (t->channels[i].started)
			(void)pthread_join(t->channels[i].thread, NULL);
		t->channels[i].started = false;
	}
}

/* ---- migration thread ---- */

bool multifd_target_why(struct multifd_target *t, struct merr *err)
{
	LOCK_SCOPE(&t->lock);

	if (!merr_is_set(&t->error))
		return false;
	*err = t->error;
	return true;
}

bool multifd_target_progressed(void *opaque)
{
	struct multifd_target *t = opaque;
	uint64_t bytes = stats_get(t->stats, received_bytes);
	bool more = bytes != t->seen_bytes;

	t->seen_bytes = bytes;
	return more;
}

static void release(struct multifd_target *t)
{
	for (unsigned int i = 0; i < t->n; i++) {
		t->channels[i].synced = false;
		multifd_receiver_mark_named(t->channels[i].receiver);
	}
	t->round++;
	FAULT_POINT("multifd.synced");
	pthread_cond_broadcast(&t->go_on);
}

/* 1: all got there, and go on; 0: not yet; or -errno, with the reason in `error`. */
static int try_sync(struct multifd_target *t)
{
	LOCK_SCOPE(&t->lock);
	unsigned int missing = 0;

	if (merr_is_set(&t->error))
		return t->error.code;
	for (unsigned int i = 0; i < t->n; i++) {
		if (t->channels[i].synced)
			continue;
		if (t->channels[i].ended)
			return merr_set(&t->error, -ENODATA, "multifd channel %u: %s", i, EOF_TEXT);
		missing++;
	}
	if (missing)
		return 0;
	release(t);
	return 1;
}

/* Which channel a sync point still waits for. */
static int give_up(struct multifd_target *t)
{
	LOCK_SCOPE(&t->lock);

	for (unsigned int i = 0; i < t->n; i++)
		if (!t->channels[i].synced)
			return merr_set(&t->error, -ETIMEDOUT, "multifd channel %u: nothing came for %d s, and its SYNC "
					"is still missing", i, SYNC_TIMEOUT_MS / 1000);
	return 0;
}

int multifd_target_sync(struct multifd_target *t)
{
	int r = try_sync(t), waited;

	while (r == 0) {
		waited = fd_wait(t->event_fd, POLLIN, t->cancel_fd, clock_now_ns() + SYNC_TIMEOUT_MS * NS_PER_MS);
		wake_drain(t->event_fd);
		if (waited == -ECANCELED)
			return waited;
		if (waited == -ETIMEDOUT && !multifd_target_progressed(t))
			(void)give_up(t);
		r = try_sync(t);
	}
	return r < 0 ? r : 0;
}

int multifd_target_end(struct multifd_target *t)
{
	LOCK_SCOPE(&t->lock);

	if (merr_is_set(&t->error))
		return t->error.code;
	for (unsigned int i = 0; i < t->n; i++)
		if (t->channels[i].synced)
			return merr_set(&t->error, -EBADMSG, "multifd channel %u: a SYNC that the main stream does not "
					"know of: the source syncs in another way", i);
	return 0;
}
