/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices by inotify that objects' files were changed, so that workers that listen get new certificates before the next
 * connection. Where inotify does not see it (a file that is a link to another directory's), the next use or SIGHUP does.
 */
#ifndef MIGD_DAEMON_OBJECT_WATCH_H
#define MIGD_DAEMON_OBJECT_WATCH_H

#include <event2/event.h>

struct object_watch;
struct objects;

/* NULL: inotify is not there, which is logged. */
struct object_watch *object_watch_new(struct event_base *base, struct objects *os);
/* NULL is fine; returns NULL. */
struct object_watch *object_watch_free(struct object_watch *w);

/* OS has other objects, or other files. W may be NULL. */
void object_watch_update(struct object_watch *w);

#endif
