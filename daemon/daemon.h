/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's parts, and who may reach what: one event loop, one thread. It never maps guest
 * memory, never parses a byte that came from a migration's peer, and never blocks: names are looked
 * up in a thread of their own (daemon/dial.h), everything else is events.
 */
#ifndef MIGD_DAEMON_DAEMON_H
#define MIGD_DAEMON_DAEMON_H

#include <event2/event.h>

#include "base/err.h"
#include "daemon/metrics.h"
#include "qmp/server.h"
#include "schema/types.h"

struct access;
struct config_source;
struct control_plane;
struct cgroups;
struct door;
struct evacuation;
struct expected;
struct fdsets;
struct history;
struct listeners;
struct metrics_http;
struct object_watch;
struct objects;
struct passed;
struct registry;
struct state_dir;
struct supervisor;

struct daemon {
	struct event_base *base;
	struct qmp_server *qmp;
	struct control_plane *plane;       /* daemon/control-plane.h */
	struct passed *passed; /* by the service manager; NULL once all is open */
	struct cgroups *cgroups; /* workers'; NULL: they have none */
	struct supervisor *supervisor; /* NULL: there is none */
	struct registry *registry;
	struct door *door;
	struct state_dir *state;
	struct fdsets *fdsets;
	struct listeners *listeners; /* shared ports */
	struct evacuation *evacuation;
	struct expected *expected; /* guests that were announced */
	struct objects *objects;
	struct object_watch *object_watch; /* NULL: there is no inotify */
	struct config config;	     /* what holds: daemon/config.h, daemon/reload.h */
	struct config_source *config_source; /* what it is made of */
	struct access *access;	     /* daemon/access.h */
	struct host_parameters host; /* daemon/host.h */
	struct host_parameters host_given; /* what was set by QMP: it goes over config.host */
	struct metrics_counts counts; /* daemon/metrics.h */
	struct metrics_http *metrics_http; /* NULL: they are not served */
	struct event *share_timer;   /* daemon/shares.h */
	uint64_t shared_ns;
	struct event *queue_timer;   /* daemon/queue.h */
	uint64_t arrivals;
	struct event *record_timer;  /* daemon/recorder.h */
	struct history *history;
	int exe_fd; /* this program, open since before it could be replaced: workers are started
		       from it */
};

/*
 * Build everything from what SOURCE (borrowed) wants, take over what a former daemon left in the state directory, and begin to
 * listen. EXE_FD is taken over. On failure nothing is left behind and ERR says what to do.
 */
int daemon_new(struct config_source *source, int exe_fd, struct daemon **ret, struct merr *err);

/* Run until a signal or `quit`. Guests and workers outlive it. 0 or -errno. */
int daemon_run(struct daemon *d);

/* End daemon_run() as soon as pending answers had a chance to leave. */
void daemon_stop(struct daemon *d);

struct daemon *daemon_free(struct daemon *d);

#endif
