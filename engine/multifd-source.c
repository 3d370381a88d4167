/* SPDX-License-Identifier: Apache-2.0 */
/* The source's channels of multifd: jobs, threads, sync points. engine/multifd-send.c writes packets. */
#include "engine/multifd-source.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "engine/wire.h"

/* So much is a job worth being handed over: a packet's worth, unless it comes in longer runs. */
#define JOB_ENOUGH_PAGES MULTIFD_PACKET_PAGES

/* One that is worked on, one that waits, and one that is filled. */
#define JOBS_PER_CHANNEL 2U

struct work {
	STAILQ_ENTRY(work) entry;
	struct multifd_job job;
};
STAILQ_HEAD(works, work);

struct channel {
	struct multifd_source *set;
	unsigned int id;
	struct multifd_sender *sender;
	pthread_t thread;
	bool started;
	uint64_t round;		/* of its last SYNC; under the set's lock */
	uint64_t seen_bytes;	/* migration thread */
};

struct multifd_source {
	struct multifd_common common;
	struct multifd_findings findings;
	int cancel_fd;
	int done_fd;		/* wake: the migration thread is to look */
	uint64_t seen_ns;
	bool syncing;		/* migration thread: a sync point was begun */
	struct work *filling;	/* migration thread; NULL: none */
	struct work *works;

	pthread_mutex_t lock;
	pthread_cond_t more;	/* a job, a sync point, or the end */
	/* Under `lock`. */
	struct works idle, ready, done;
	uint64_t round;		/* sync points so far */
	unsigned int n_synced;	/* channels that have reached the last one */
	bool waiting;		/* the migration thread is, for done_fd */
	bool stopping;
	struct merr error;	/* the first */

	unsigned int n;
	struct channel channels[];
};

/* ---- a channel's thread ---- */

/* The migration thread is to look. Lock held. */
static void tell(struct multifd_source *s)
{
	if (s->waiting)
		wake_raise(s->done_fd);
	s->waiting = false;
}

static void fail(struct channel *c)
{
	struct multifd_source *s = c->set;
	LOCK_SCOPE(&s->lock);

	if (!s->stopping) {
		(void)merr_copy(&s->error, multifd_sender_error(c->sender));
		stats_channel_set(s->common.stats, c->id, failed, 1);
	}
	tell(s);
}

/* The next job; NULL: a sync point, or if *ret_stop the end. */
static struct work *take(struct channel *c, bool *ret_stop)
{
	struct multifd_source *s = c->set;
	LOCK_SCOPE(&s->lock);
	struct work *w;

	while (!s->stopping && STAILQ_EMPTY(&s->ready) && c->round == s->round)
		(void)pthread_cond_wait(&s->more, &s->lock);
	*ret_stop = s->stopping;
	w = STAILQ_FIRST(&s->ready);
	if (s->stopping || !w)
		return NULL;
	STAILQ_REMOVE_HEAD(&s->ready, entry);
	return w;
}

static void give_back(struct channel *c, struct work *w)
{
	LOCK_SCOPE(&c->set->lock);

	FAULT_POINT("multifd.pages-sent");
	STAILQ_INSERT_TAIL(&c->set->done, w, entry);
	tell(c->set);
}

static void reach_sync(struct channel *c)
{
	LOCK_SCOPE(&c->set->lock);

	FAULT_POINT("multifd.sync-sent");
	c->round = c->set->round;
	c->set->n_synced++;
	tell(c->set);
}

static void *send_all(void *opaque)
{
	struct channel *c = opaque;
	bool stop = false;
	struct work *w;
	char name[16];
	int r = 0;

	(void)snprintf(name, sizeof(name), "mig/src/send_%u", c->id);
	(void)pthread_setname_np(pthread_self(), name);
	stats_channel_set(c->set->common.stats, c->id, thread_id, gettid());
	while (r == 0) {
		w = take(c, &stop);
		if (stop)
			break;
		r = w ? multifd_send_job(c->sender, &w->job) : multifd_send_sync(c->sender);
		if (w)
			give_back(c, w);
		else if (r == 0)
			reach_sync(c);
	}
	if (r < 0)
		fail(c);
	stats_channel_set(c->set->common.stats, c->id, thread_id, 0);
	return NULL;
}

/* ---- setup and end ---- */

static int start(struct multifd_source *s, unsigned int id, struct chan *chan, const struct multifd_hello *hello,
		 struct merr *err)
{
	struct channel *c = &s->channels[id];
	struct multifd_hello h = *hello;
	int r;

	*c = (struct channel){ .set = s, .id = id };
	c->sender = multifd_sender_new(&s->common, chan, id, err);
	if (!c->sender)
		return -ENOMEM;
	h.id = (uint8_t)id;
	h.n_channels = (uint8_t)s->n;
	if (multifd_send_hello(c->sender, &h) < 0)
		return merr_copy(err, multifd_sender_error(c->sender));
	r = -pthread_create(&c->thread, NULL, send_all, c);
	if (r < 0)
		return merr_set_errno(err, r, "multifd: no thread for channel %u of %u", id, s->n);
	c->started = true;
	return 0;
}

static int make_works(struct multifd_source *s)
{
	unsigned int n = s->n * JOBS_PER_CHANNEL + 1;

	s->works = calloc(n, sizeof(*s->works));
	for (unsigned int i = 0; s->works && i < n; i++)
		STAILQ_INSERT_TAIL(&s->idle, &s->works[i], entry);
	return s->works ? 0 : -ENOMEM;
}

static struct multifd_source *set_new(const struct multifd_options *o)
{
	struct multifd_source *s = calloc(1, sizeof(*s) + o->n * sizeof(s->channels[0]));

	if (!s)
		return NULL;
	s->common = (struct multifd_common){ .rate = o->rate, .stats = o->stats, .codec = o->codec, .level = o->level,
					     .n_zero_copy = o->zero_copy ? o->n : 0,
					     .stop_fd = wake_new() };
	s->n = o->n;
	s->cancel_fd = o->cancel_fd;
	s->done_fd = wake_new();
	STAILQ_INIT(&s->idle);
	STAILQ_INIT(&s->ready);
	STAILQ_INIT(&s->done);
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->more, NULL);
	if (s->common.stop_fd < 0 || s->done_fd < 0 || make_works(s) < 0)
		return multifd_source_free(s);
	return s;
}

struct multifd_source *multifd_source_new(const struct multifd_options *o, struct chan **chans,
					  const struct multifd_hello *hello, struct merr *err)
{
	struct multifd_source *s = set_new(o);
	unsigned int i = 0;
	int r = s ? 0 : merr_set(err, -ENOMEM, "multifd: no memory, or no descriptors, for %u channels", o->n);

	for (; r == 0 && i < o->n; i++)
		r = start(s, i, chans[i], hello, err);
	for (; i < o->n; i++)
		(void)chan_free(chans[i]);
	return r < 0 ? multifd_source_free(s) : s;
}

static void stop(struct multifd_source *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->more);
	pthread_mutex_unlock(&s->lock);
	wake_raise(s->common.stop_fd);
	for (unsigned int i = 0; i < s->n; i++)
		if (s->channels[i].started)
			(void)pthread_join(s->channels[i].thread, NULL);
}

struct multifd_source *multifd_source_free(struct multifd_source *s)
{
	if (!s)
		return NULL;
	stop(s);
	multifd_source_tick(s);
	for (unsigned int i = 0; i < s->n; i++)
		(void)multifd_sender_free(s->channels[i].sender);
	free(s->works);
	(void)close_fd(s->common.stop_fd);
	(void)close_fd(s->done_fd);
	(void)pthread_cond_destroy(&s->more);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

/* ---- migration thread ---- */

void multifd_source_on(struct multifd_source *s, const struct multifd_findings *f)
{
	s->findings = *f;
}

void multifd_source_zeros(struct multifd_source *s, bool find, bool list)
{
	atomic_store(&s->common.find_zeros, find);
	atomic_store(&s->common.list_zeros, list);
}

bool multifd_source_why(struct multifd_source *s, struct merr *err)
{
	LOCK_SCOPE(&s->lock);

	(void)merr_copy(err, &s->error);
	return merr_is_set(&s->error);
}

void multifd_source_tick(struct multifd_source *s)
{
	uint64_t now = clock_now_ns(), ns = now - s->seen_ns, bytes;

	for (unsigned int i = 0; ns > 0 && i < s->n; i++) {
		struct channel *c = &s->channels[i];

		if (!c->sender)
			continue;
		bytes = multifd_sender_bytes(c->sender);
		if (s->seen_ns)
			stats_channel_set(s->common.stats, i, bandwidth_bps,
					  (bytes - c->seen_bytes) * NS_PER_SEC / ns);
		c->seen_bytes = bytes;
	}
	s->seen_ns = now;
}

/* The page at place AT of a job. */
static uint64_t page_at(const struct multifd_job *job, uint64_t at)
{
	uint32_t i = 0;

	for (; at >= job->runs[i].n; i++)
		at -= job->runs[i].n;
	return job->runs[i].page + at;
}

/* Tell of zeros, as runs: of places that follow each other the pages need not. */
static void tell_zeros(struct multifd_source *s, const struct multifd_job *job)
{
	uint64_t at = 0, first = 0, n = 0, page;

	while ((at = bitmap_next_set(job->zero, job->n_pages, at)) < job->n_pages) {
		page = page_at(job, at++);
		if (n > 0 && page != first + n) {
			s->findings.zero(s->findings.opaque, job->block, first, n);
			n = 0;
		}
		first = n > 0 ? first : page;
		n++;
	}
	if (n > 0)
		s->findings.zero(s->findings.opaque, job->block, first, n);
}

static int tell_findings(struct multifd_source *s, const struct multifd_job *job, struct merr *err)
{
	uint64_t at = 0;
	int r = 0;

	if (job->error)
		return s->findings.unreadable(s->findings.opaque, job->block, job->error_page, job->error, err);
	tell_zeros(s, job);
	while (r == 0 && (at = bitmap_next_set(job->damaged, job->n_pages, at)) < job->n_pages)
		r = s->findings.damaged(s->findings.opaque, job->block, page_at(job, at++), err);
	return r;
}

/* Look at what is done. */
static int collect(struct multifd_source *s, struct merr *err)
{
	struct works done;
	struct work *w;
	int r = 0;

	STAILQ_INIT(&done);
	{
		LOCK_SCOPE(&s->lock);
		STAILQ_CONCAT(&done, &s->done);
		r = merr_is_set(&s->error) ? s->error.code : 0;
	}
	while ((w = STAILQ_FIRST(&done))) {
		STAILQ_REMOVE_HEAD(&done, entry);
		if (r == 0)
			r = tell_findings(s, &w->job, err);
		STAILQ_INSERT_TAIL(&s->idle, w, entry);
	}
	return r;
}

/* Whether there is something to wait for no longer: what is done, a channel's failure, or the sync point. */
static bool must_wait(struct multifd_source *s, bool for_sync)
{
	LOCK_SCOPE(&s->lock);

	s->waiting = STAILQ_EMPTY(&s->done) && !merr_is_set(&s->error) && !(for_sync && s->n_synced == s->n);
	return s->waiting;
}

/* Let the channels work, until DEADLINE_NS at most. */
static int await(struct multifd_source *s, bool for_sync, uint64_t deadline_ns)
{
	int r;

	if (!must_wait(s, for_sync))
		return 0;
	r = fd_wait(s->done_fd, POLLIN, s->cancel_fd, deadline_ns);
	wake_drain(s->done_fd);
	return r == -ETIMEDOUT ? -EAGAIN : r < 0 ? r : 0;
}

static uint64_t patience(void)
{
	return clock_now_ns() + MULTIFD_WAIT_MS * NS_PER_MS;
}

static void hand_over(struct multifd_source *s)
{
	struct work *w = TAKE_PTR(s->filling);
	LOCK_SCOPE(&s->lock);

	if (!w)
		return;
	STAILQ_INSERT_TAIL(&s->ready, w, entry);
	pthread_cond_signal(&s->more);
}

static struct work *take_idle(struct multifd_source *s)
{
	struct work *w = STAILQ_FIRST(&s->idle);

	if (w)
		STAILQ_REMOVE_HEAD(&s->idle, entry);
	return w;
}

/* A job with room for N pages of B. */
static int open_job(struct multifd_source *s, struct ram_file *b, uint64_t n, struct merr *err)
{
	uint64_t deadline_ns = patience();
	int r;

	if (s->filling && (s->filling->job.block != b || s->filling->job.n_pages + n > MULTIFD_JOB_PAGES))
		hand_over(s);
	while (!s->filling) {
		r = collect(s, err);
		if (r < 0)
			return r;
		s->filling = take_idle(s);
		if (s->filling)
			s->filling->job = (struct multifd_job){ .block = b };
		else if ((r = await(s, false, deadline_ns)) < 0)
			return r;
	}
	return 0;
}

int multifd_source_send(struct multifd_source *s, struct ram_file *b, uint64_t page, uint64_t n, bool dense,
			struct merr *err)
{
	struct multifd_job *job;
	int r;

	r = open_job(s, b, n, err);
	if (r < 0)
		return r;
	job = &s->filling->job;
	job->runs[job->n_runs].page = page;
	job->runs[job->n_runs].n = (uint32_t)n;
	job->runs[job->n_runs++].dense = dense;
	job->n_pages += (uint32_t)n;
	if (job->n_pages >= JOB_ENOUGH_PAGES || job->n_runs == MULTIFD_JOB_RUNS)
		hand_over(s);
	return 0;
}

/* A channel sends its SYNC when there is nothing more to take: nothing is handed over until all have. */
static void begin_sync(struct multifd_source *s)
{
	LOCK_SCOPE(&s->lock);

	s->round++;
	s->n_synced = 0;
	pthread_cond_broadcast(&s->more);
}

static bool is_synced(struct multifd_source *s)
{
	LOCK_SCOPE(&s->lock);

	return s->n_synced == s->n;
}

int multifd_source_sync(struct multifd_source *s, struct merr *err)
{
	uint64_t deadline_ns = patience();
	bool synced;
	int r;

	hand_over(s);
	if (!s->syncing)
		begin_sync(s);
	s->syncing = true;
	do {
		r = await(s, true, deadline_ns);
		synced = is_synced(s);
		/* All that was done before that is there to be collected. */
		if (r == 0)
			r = collect(s, err);
	} while (r == 0 && !synced);
	s->syncing = r != 0;
	return r;
}
