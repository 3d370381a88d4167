/* SPDX-License-Identifier: Apache-2.0 */
/* Watching the directories of objects' files. */
#include "daemon/object-watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/object.h"
#include "daemon/timer.h"

/* A certificate and its key are two files: both had better be there. */
#define SETTLE_MS 200U

#define EVENTS                                                                                                           \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

struct object_watch {
	struct event_base *base;
	struct objects *objects;
	int fd;
	struct event *readable;
	struct event *settle; /* something happened: look when it is over */
};

static void add_dir(void *opaque, const char *dir)
{
	const struct object_watch *w = opaque;

	/* Again for one that is watched: that stays one watch. */
	if (inotify_add_watch(w->fd, dir, EVENTS | IN_ONLYDIR) < 0)
		log_debug("a directory is not watched for changes path='%s': %s", dir, strerror(errno));
}

void object_watch_update(struct object_watch *w)
{
	const struct object *o;

	if (!w)
		return;
	TAILQ_FOREACH(o, &w->objects->list, entry)
	cred_files_each_dir(&o->files, add_dir, w);
}

static void on_settled(evutil_socket_t fd, short what, void *opaque)
{
	struct object_watch *w = opaque;

	(void)fd;
	(void)what;
	w->settle = timer_free(w->settle);
	objects_refresh(w->objects);
	/* A directory may be another one under the old name. */
	object_watch_update(w);
}

static void on_readable(evutil_socket_t fd, short what, void *opaque)
{
	struct object_watch *w = opaque;
	char events[4096];

	(void)what;
	while (read(fd, events, sizeof(events)) > 0)
		;
	if (!w->settle)
		w->settle = timer_start(w->base, SETTLE_MS, on_settled, w);
}

struct object_watch *object_watch_new(struct event_base *base, struct objects *os)
{
	struct object_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->base = base;
	w->objects = os;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	w->readable = w->fd >= 0 ? event_new(base, w->fd, EV_READ | EV_PERSIST, on_readable, w) : NULL;
	if (!w->readable || event_add(w->readable, NULL) < 0) {
		log_notice("changes of credentials' files are noticed at their next use, or by SIGHUP: inotify: %s",
			   strerror(errno));
		return object_watch_free(w);
	}
	object_watch_update(w);
	return w;
}

struct object_watch *object_watch_free(struct object_watch *w)
{
	if (!w)
		return NULL;
	(void)timer_free(w->settle);
	(void)timer_free(w->readable);
	close_fd(w->fd);
	free(w);
	return NULL;
}
