/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O thread. */
#include "vmm/io.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "vmm/util.h"

/* Less than the library's patience with the quiesce hook (10 s). */
#define PAUSE_TIMEOUT_S 8

struct io {
	int epoll_fd;
	int wake_fd;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;	/* of the rest */
	pthread_cond_t changed;
	bool pause_wanted, paused, stop;
};

/* Returns false when the thread is to end. */
static bool wait_while_paused(struct io *io)
{
	(void)pthread_mutex_lock(&io->lock);
	while (io->pause_wanted && !io->stop) {
		io->paused = true;
		(void)pthread_cond_broadcast(&io->changed);
		(void)pthread_cond_wait(&io->changed, &io->lock);
	}
	io->paused = false;
	bool run = !io->stop;
	(void)pthread_mutex_unlock(&io->lock);
	return run;
}

static void *io_thread(void *arg)
{
	struct io *io = arg;
	while (wait_while_paused(io)) {
		struct epoll_event event; /* one: a pause holds before the next callback */
		int n = epoll_wait(io->epoll_fd, &event, 1, -1);
		if (n < 0 && errno != EINTR) {
			note(LOG_ERR, "epoll_wait: %m");
			break;
		}
		if (n <= 0)
			continue;
		struct io_watch *w = event.data.ptr;
		if (w)
			w->ready(w->opaque, event.events);
		else
			(void)!read(io->wake_fd, &(uint64_t){ 0 }, sizeof(uint64_t));
	}
	return NULL;
}

static void wake(struct io *io)
{
	(void)!write(io->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static int start(struct io *io)
{
	io->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (io->epoll_fd < 0)
		return fail(-errno, "epoll_create1: %m");
	io->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (io->wake_fd < 0)
		return fail(-errno, "eventfd: %m");
	struct epoll_event event = { .events = EPOLLIN };
	if (epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, io->wake_fd, &event) < 0)
		return fail(-errno, "epoll_ctl: %m");
	int error = pthread_create(&io->thread, NULL, io_thread, io);
	if (error)
		return fail(-error, "cannot make the I/O thread: %s", strerrordesc_np(error));
	io->has_thread = true;
	return 0;
}

int io_new(struct io **ret)
{
	struct io *io = calloc(1, sizeof(*io));
	if (!io)
		return fail(-ENOMEM, "out of memory");
	io->epoll_fd = io->wake_fd = -1;
	(void)pthread_mutex_init(&io->lock, NULL);
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&io->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	int r = start(io);
	if (r < 0)
		(void)io_free(io);
	else
		*ret = io;
	return r;
}

void io_stop(struct io *io)
{
	if (!io || !io->has_thread)
		return;
	(void)pthread_mutex_lock(&io->lock);
	io->stop = true;
	(void)pthread_cond_broadcast(&io->changed);
	(void)pthread_mutex_unlock(&io->lock);
	wake(io);
	(void)pthread_join(io->thread, NULL);
	io->has_thread = false;
}

struct io *io_free(struct io *io)
{
	if (!io)
		return NULL;
	io_stop(io);
	if (io->epoll_fd >= 0)
		(void)close(io->epoll_fd);
	if (io->wake_fd >= 0)
		(void)close(io->wake_fd);
	(void)pthread_cond_destroy(&io->changed);
	(void)pthread_mutex_destroy(&io->lock);
	free(io);
	return NULL;
}

int io_add(struct io *io, struct io_watch *w)
{
	struct epoll_event event = { .events = w->events, .data.ptr = w };
	return epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) < 0 ? -errno : 0;
}

void io_set_events(struct io *io, struct io_watch *w, uint32_t events)
{
	w->events = events;
	struct epoll_event event = { .events = events, .data.ptr = w };
	if (epoll_ctl(io->epoll_fd, EPOLL_CTL_MOD, w->fd, &event) < 0)
		note(LOG_ERR, "cannot change what descriptor %d is watched for: %m", w->fd);
}

void io_remove(struct io *io, struct io_watch *w)
{
	(void)epoll_ctl(io->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
}

int io_pause(struct io *io)
{
	struct timespec deadline;
	(void)clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += PAUSE_TIMEOUT_S;
	(void)pthread_mutex_lock(&io->lock);
	io->pause_wanted = true;
	wake(io);
	int error = 0;
	while (io->has_thread && !io->paused && error == 0)
		error = pthread_cond_timedwait(&io->changed, &io->lock, &deadline);
	if (error) {
		io->pause_wanted = false;
		(void)pthread_cond_broadcast(&io->changed);
	}
	(void)pthread_mutex_unlock(&io->lock);
	return error ? fail(-error, "a disk request is not done after %d s", PAUSE_TIMEOUT_S) : 0;
}

void io_resume(struct io *io)
{
	(void)pthread_mutex_lock(&io->lock);
	io->pause_wanted = false;
	(void)pthread_cond_broadcast(&io->changed);
	(void)pthread_mutex_unlock(&io->lock);
}

bool io_pausing(struct io *io)
{
	(void)pthread_mutex_lock(&io->lock);
	bool pausing = io->pause_wanted || io->stop;
	(void)pthread_mutex_unlock(&io->lock);
	return pausing;
}
