/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing what was written. Renaming and syncing a directory may take a disk's time: a thread
 * does it. A publication whose owner left meanwhile lives until the thread is done, and then undoes
 * what that did.
 */
#include "daemon/publication.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/command.h"
#include "daemon/timer.h"

#define FILE_MODE 0600

struct publication {
	struct event_base *base;
	struct command *command; /* or a file: */
	char *temp, *final;
	bool renamed;

	int done_fd; /* eventfd: the thread has finished; -1: none runs */
	struct event *finished;
	struct merr result; /* the thread's */

	publication_fn fn;
	void *opaque;
	bool abandoned; /* its owner left while the thread ran, without KEEP */
	bool left;      /* its owner left */
};

static void publication_free(struct publication *p)
{
	(void)timer_free(p->finished);
	(void)close_fd(p->done_fd);
	free(p->temp);
	free(p->final);
	free(p);
}

static struct publication *publication_new(struct event_base *base)
{
	struct publication *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->base = base;
	p->done_fd = -1;
	return p;
}

struct publication *publication_of_command(struct event_base *base, struct command *c)
{
	struct publication *p = publication_new(base);

	if (p)
		p->command = c;
	else
		(void)command_drop(c, true);
	return p;
}

/* ---- files ---- */

static struct publication *file_new(struct event_base *base, const char *path, const char *id)
{
	struct publication *p = publication_new(base);
	char *real;

	if (!p)
		return NULL;
	/* A name that is a link stays one. */
	real = canonicalize_file_name(path);
	p->final = real ? real : strdup(path);
	if (p->final && asprintf(&p->temp, "%s.%s.part", p->final, id) < 0)
		p->temp = NULL;
	if (p->temp)
		return p;
	publication_free(p);
	return NULL;
}

int publication_of_file(struct event_base *base, const char *path, const char *id,
			struct publication **ret, int *ret_fd, struct merr *err)
{
	struct publication *p = file_new(base, path, id);
	int fd;

	if (!p)
		return merr_set(err, -ENOMEM, "out of memory");
	fd = open(p->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
	if (fd < 0) {
		fd = merr_set_errno(err, -errno, "Failed to create '%s'", p->temp);
		publication_free(p);
		return fd;
	}
	FAULT_POINT("file.created");
	*ret = p;
	*ret_fd = fd;
	return 0;
}

struct publication *publication_find(struct event_base *base, const char *path, const char *id)
{
	struct publication *p = file_new(base, path, id);

	if (p && access(p->temp, F_OK) < 0) {
		publication_free(p);
		return NULL;
	}
	return p;
}

struct publication *publication_find_renamed(struct event_base *base, const char *path,
					     const char *id, int fd)
{
	struct publication *p = file_new(base, path, id);
	struct stat there, ours;

	if (!p)
		return NULL;
	p->renamed = stat(p->final, &there) == 0 && fstat(fd, &ours) == 0 &&
		     there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
	if (p->renamed)
		return p;
	publication_free(p);
	return NULL;
}

static int sync_directory_of(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = -1;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static void *publish_file(void *opaque)
{
	struct publication *p = opaque;
	int r = FAULT_FAILS("file.rename");

	if (r == 0 && !p->renamed && rename(p->temp, p->final) < 0)
		r = -errno;
	p->renamed = p->renamed || r == 0;
	FAULT_POINT("file.renamed");
	if (r == 0)
		r = sync_directory_of(p->final);
	if (r < 0)
		(void)merr_set_errno(&p->result, r, "Failed to rename '%s' to '%s'", p->temp,
				     p->final);
	wake_raise(p->done_fd);
	return NULL;
}

static void remove_file(const struct publication *p)
{
	const char *path = p->renamed ? p->final : p->temp;

	if (path && unlink(path) < 0 && errno != ENOENT)
		log_warning("cannot remove '%s': %s", path, strerror(errno));
}

static void call_back(struct publication *p, const struct merr *err)
{
	publication_fn fn = TAKE_PTR(p->fn);

	if (fn)
		fn(p->opaque, err);
}

static void on_finished(evutil_socket_t fd, short what, void *opaque)
{
	struct publication *p = opaque;

	(void)what;
	wake_drain(fd); /* what the thread wrote before it raised this is seen after it */
	p->finished = timer_free(p->finished);
	p->done_fd = close_fd(p->done_fd);
	if (!p->left) {
		call_back(p, merr_is_set(&p->result) ? &p->result : NULL);
		return;
	}
	if (p->abandoned)
		remove_file(p);
	publication_free(p);
}

static int start_thread(struct publication *p)
{
	pthread_t thread;

	p->done_fd = wake_new();
	if (p->done_fd < 0)
		return p->done_fd;
	p->finished = event_new(p->base, p->done_fd, EV_READ, on_finished, p);
	if (!p->finished || event_add(p->finished, NULL) < 0 ||
	    pthread_create(&thread, NULL, publish_file, p) != 0) {
		p->finished = timer_free(p->finished);
		p->done_fd = close_fd(p->done_fd);
		return -ENOMEM;
	}
	(void)pthread_detach(thread);
	return 0;
}

/* ---- both ---- */

static void on_command_ended(void *opaque, const struct merr *err)
{
	call_back(opaque, err);
}

void publication_publish(struct publication *p, publication_fn fn, void *opaque)
{
	struct merr err = MERR_INIT;

	p->fn = fn;
	p->opaque = opaque;
	if (p->command)
		command_await(p->command, on_command_ended, p);
	else if (p->done_fd < 0 && start_thread(p) < 0) {
		(void)merr_set(&err, -ENOMEM, "cannot rename '%s': out of memory", p->temp);
		call_back(p, &err);
	}
}

struct publication *publication_done(struct publication *p, bool keep)
{
	if (!p)
		return NULL;
	p->fn = NULL;
	p->command = command_drop(p->command, !keep);
	p->left = true;
	p->abandoned = !keep;
	if (p->done_fd >= 0)
		return NULL;
	if (!keep)
		remove_file(p);
	publication_free(p);
	return NULL;
}
