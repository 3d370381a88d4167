/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: its parts put together, run, taken apart. */
#include "daemon/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log-events.h"
#include "base/short-slice.h"
#include "daemon/access.h"
#include "daemon/adopt.h"
#include "daemon/cgroup.h"
#include "daemon/command.h"
#include "daemon/config-source.h"
#include "daemon/control-plane.h"
#include "daemon/evacuation.h"
#include "daemon/expected.h"
#include "daemon/fdset.h"
#include "daemon/hello.h"
#include "daemon/history.h"
#include "daemon/host.h"
#include "daemon/listeners.h"
#include "daemon/metrics-http.h"
#include "daemon/object-watch.h"
#include "daemon/object.h"
#include "daemon/passed.h"
#include "daemon/queue.h"
#include "daemon/recorder.h"
#include "daemon/registry.h"
#include "daemon/reload.h"
#include "daemon/settings-store.h"
#include "daemon/shares.h"
#include "daemon/state-dir.h"
#include "daemon/supervisor.h"
#include "daemon/timer.h"
#include "daemon/tls.h"
#include "daemon/version.h"
#include "daemon/worker.h"

/* For answers on their way when `quit` comes. */
#define STOP_DELAY_USEC 50000

struct signals {
	struct event *terminate, *interrupt, *hangup;
};

struct daemon_private {
	struct daemon d;
	struct signals signals;
};

static struct daemon_private *private_of(struct daemon *d)
{
	return (struct daemon_private *)d;
}

static void on_end_signal(evutil_socket_t signo, short what, void *opaque)
{
	struct daemon *d = opaque;

	(void)what;
	log_notice("ending by signal %d; guests and running migrations go on", (int)signo);
	supervisor_stopping(d->supervisor);
	(void)event_base_loopbreak(d->base);
}

static void on_hangup(evutil_socket_t signo, short what, void *opaque)
{
	struct daemon *d = opaque;

	(void)signo;
	(void)what;
	reload_on_signal(d);
}

static void on_object_changed(void *opaque, const char *id)
{
	tls_object_changed(opaque, id);
}

static struct event *watch_signal(struct daemon *d, int signo, event_callback_fn fn)
{
	struct event *e = evsignal_new(d->base, signo, fn, d);

	if (e && event_add(e, NULL) < 0)
		return timer_free(e);
	return e;
}

static int watch_signals(struct daemon *d, struct merr *err)
{
	struct signals *s = &private_of(d)->signals;

	(void)signal(SIGPIPE, SIG_IGN);
	s->terminate = watch_signal(d, SIGTERM, on_end_signal);
	s->interrupt = watch_signal(d, SIGINT, on_end_signal);
	s->hangup = watch_signal(d, SIGHUP, on_hangup);
	return s->terminate && s->interrupt && s->hangup
		       ? 0
		       : merr_set(err, -ENOMEM, "cannot watch signals");
}

/*
 * Two descriptors a guest, five a migration: the usual soft limit of 1024 is for select()'s sake,
 * which nothing here uses.
 */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int start_objects(struct daemon *d, struct merr *err)
{
	d->objects = objects_new(d->state, on_object_changed, d);
	if (!d->objects)
		return merr_set(err, -ENOMEM, "out of memory");
	d->object_watch = object_watch_new(d->base, d->objects);
	return 0;
}

/* Last, so that whoever can connect finds everything in place. */
static int open_sockets(struct daemon *d, struct merr *err)
{
	int fd = -1, r = passed_claim_socket(d->passed, "attach", SOCK_SEQPACKET, &fd, err);

	if (r == 0)
		r = door_open(d, fd, &d->door, err);
	return r < 0 ? r : plane_open(d, err);
}

/*
 * QMP's clients come first (qmp/ gives its events priority 0, the others have 1): they are looked for after a few of the
 * others' events, also when fifty migrations begin at once.
 */
static struct event_base *new_base(void)
{
	static const struct timeval interval = { .tv_usec = 1000 };
	struct event_config *c = event_config_new();
	struct event_base *base = NULL;

	if (c && event_config_set_max_dispatch_interval(c, &interval, 4, 1) == 0)
		base = event_base_new_with_config(c);
	if (c)
		event_config_free(c);
	if (base && event_base_priority_init(base, 2) < 0) {
		event_base_free(base);
		return NULL;
	}
	return base;
}

static int build(struct daemon *d, struct merr *err)
{
	int r;

	d->base = new_base();
	d->registry = registry_new(d);
	d->fdsets = fdsets_new();
	d->expected = expected_new(d);
	if (!d->base || !d->registry || !d->fdsets || !d->expected)
		return merr_set(err, -ENOMEM, "out of memory");
	d->supervisor = supervisor_new(d);
	raise_descriptor_limit();
	r = passed_new(&d->passed, err);
	if (r == 0 && config_copy(&d->config, &d->config_source->wanted) < 0)
		r = merr_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = reload_log_level(d->config.daemon.log_level, err);
	if (r == 0)
		r = access_load(d, err);
	if (r == 0)
		r = state_dir_open(d->config.daemon.state_dir, &d->state, err);
	if (r == 0)
		r = host_init(d, err);
	if (r == 0)
		r = start_objects(d, err);
	if (r == 0)
		r = watch_signals(d, err);
	if (r == 0)
		r = plane_start(d, err);
	if (r < 0)
		return r;
	d->history = history_new(d);
	if (!d->history)
		return merr_set(err, -ENOMEM, "out of memory");
	d->cgroups = cgroups_new(&d->config.workers);
	settings_prune(d);
	adopt_all(d);
	d->evacuation = evacuation_new(d);
	if (!d->evacuation)
		return merr_set(err, -ENOMEM, "out of memory");
	r = listeners_open(d, &d->listeners, err);
	if (r == 0)
		r = metrics_http_open(d, &d->metrics_http, err);
	if (r == 0)
		r = open_sockets(d, err);
	if (r < 0)
		return r;
	d->passed = passed_free(d->passed);
	settings_reattach(d);
	return 0;
}

int daemon_new(struct config_source *source, int exe_fd, struct daemon **ret, struct merr *err)
{
	struct daemon_private *p = calloc(1, sizeof(*p));
	int r;

	if (!p) {
		close_fd(exe_fd);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	p->d.exe_fd = exe_fd;
	p->d.config_source = source;
	/* Its clients wait for it, also while workers keep every CPU busy: those inherit neither this nor its priority. */
	short_slice();
	r = build(&p->d, err);
	if (r < 0) {
		(void)daemon_free(&p->d);
		return r;
	}
	*ret = &p->d;
	return 0;
}

int daemon_run(struct daemon *d)
{
	supervisor_ready(d->supervisor);
	log_event(LOG_EVENT_STARTED, LOG_INFO, "ready version=%s", MIGD_VERSION);
	return event_base_dispatch(d->base) < 0 ? -EIO : 0;
}

void daemon_stop(struct daemon *d)
{
	struct timeval delay = { .tv_usec = STOP_DELAY_USEC };

	(void)event_base_loopexit(d->base, &delay);
}

struct daemon *daemon_free(struct daemon *d)
{
	struct daemon_private *p;

	if (!d)
		return NULL;
	p = private_of(d);
	d->passed = passed_free(d->passed);
	d->metrics_http = metrics_http_free(d->metrics_http);
	d->door = door_close(d->door);
	d->listeners = listeners_free(d->listeners);
	d->registry = registry_free(d->registry);
	d->expected = expected_free(d->expected);
	d->evacuation = evacuation_free(d->evacuation);
	recorder_done(d);
	d->history = history_free(d->history);
	worker_forget_dismissed();
	command_forget_dropped();
	d->fdsets = fdsets_free(d->fdsets);
	shares_done(d);
	d->object_watch = object_watch_free(d->object_watch);
	d->objects = objects_free(d->objects);
	queue_done(d);
	host_done(d);
	plane_stop(d);
	d->access = access_free(d->access);
	config_done(&d->config);
	(void)timer_free(p->signals.terminate);
	(void)timer_free(p->signals.interrupt);
	(void)timer_free(p->signals.hangup);
	d->state = state_dir_free(d->state);
	d->cgroups = cgroups_free(d->cgroups);
	d->supervisor = supervisor_free(d->supervisor);
	if (d->base)
		event_base_free(d->base);
	close_fd(d->exe_fd);
	free(p);
	return NULL;
}
