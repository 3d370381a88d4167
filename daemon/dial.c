/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and connections without blocking the loop.
 *
 * getaddrinfo() cannot be interrupted, so the thread owns a reference of its own to what it works
 * on: a dial that is cancelled meanwhile leaves that behind, and whoever comes last frees it.
 */
#include "daemon/dial.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/timer.h"
#include "transport/sock.h"

/*
 * Constants, not settings: who wants to wait less cancels, which takes effect at once; what did not answer within this will
 * not.
 *
 * For a look-up: the resolver's default is twice 5 s for each name server; two dead ones before a good one fit in.
 * For each of the addresses a name resolves to: longer than TCP needs to get over two lost SYNs.
 */
#define LOOK_UP_TIMEOUT_MS 25000U
#define CONNECT_TIMEOUT_MS 10000U

/* What the loop and the look-up thread share. */
struct lookup {
	atomic_int n_refs;
	int done_fd; /* eventfd: raised when the members below are there */
	struct addr addr;
	bool listen;
	struct sock_target targets[SOCK_TARGETS_MAX];
	int n_targets; /* or -errno, with err */
	struct merr err;
};

struct dial {
	struct event_base *base;
	struct lookup *lookup;
	struct event *wait; /* for the delay, the look-up, or the connection */
	struct event *deadline; /* of the look-up, or the connection */
	int fd;   /* being connected */
	int next; /* the target to try next */
	struct merr why; /* the last target failed */
	dial_fn fn;
	void *opaque;
};

static void lookup_unref(struct lookup *l)
{
	if (!l || atomic_fetch_sub(&l->n_refs, 1) > 1)
		return;
	close_fd(l->done_fd);
	free(l);
}

static void *lookup_thread(void *opaque)
{
	struct lookup *l = opaque;

	l->n_targets = sock_resolve(&l->addr, l->listen, l->targets, &l->err);
	wake_raise(l->done_fd);
	lookup_unref(l);
	return NULL;
}

static int lookup_start_thread(struct lookup *l)
{
	sigset_t all, before;
	pthread_t thread;
	int r;

	/* Signals are the loop's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	atomic_fetch_add(&l->n_refs, 1);
	r = pthread_create(&thread, NULL, lookup_thread, l);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		lookup_unref(l);
		return -r;
	}
	(void)pthread_detach(thread);
	return 0;
}

static struct lookup *lookup_new(const struct addr *a, bool listen)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	atomic_init(&l->n_refs, 1);
	l->addr = *a;
	l->listen = listen;
	l->done_fd = wake_new();
	if (l->done_fd < 0) {
		lookup_unref(l);
		return NULL;
	}
	return l;
}

struct dial *dial_cancel(struct dial *d)
{
	if (!d)
		return NULL;
	(void)timer_free(d->wait);
	(void)timer_free(d->deadline);
	close_fd(d->fd);
	lookup_unref(d->lookup);
	free(d);
	return NULL;
}

/* The last act: D is freed before FN is called, so that FN may start another. */
static void finish(struct dial *d, int fd, const struct merr *err)
{
	dial_fn fn = d->fn;
	void *opaque = d->opaque;

	(void)dial_cancel(d);
	fn(opaque, fd, err);
}

static void describe_source(const struct source *s, char *buf, size_t len)
{
	(void)snprintf(buf, len, "%s%s%s%s", s->address[0] ? " from " : "", s->address, s->interface[0] ? " by " : "",
		       s->interface);
}

static void fail(struct dial *d)
{
	char text[ADDR_FORMATTED_MAX], source[SOURCE_ADDRESS_MAX + IFNAMSIZ + 16] = "";
	const struct addr *a = &d->lookup->addr;
	struct merr err = MERR_INIT;

	if (a->type == ADDR_TCP)
		describe_source(&a->source, source, sizeof(source));
	(void)merr_set(&err, d->why.code, "Failed to connect to '%s'%s: %s", addr_endpoint(a, text, sizeof(text)),
		       source, merr_msg(&d->why));
	finish(d, -1, &err);
}

static void try_next(struct dial *d);

static void on_connect_deadline(evutil_socket_t fd, short what, void *opaque)
{
	struct dial *d = opaque;

	(void)fd;
	(void)what;
	(void)merr_set(&d->why, -ETIMEDOUT,
		       "%s: no answer within %u s; is the host up, and does no firewall drop what is sent to it?",
		       strerror(ETIMEDOUT), CONNECT_TIMEOUT_MS / 1000);
	try_next(d);
}

static void on_connected(evutil_socket_t fd, short what, void *opaque)
{
	struct dial *d = opaque;

	(void)what;
	if (sock_connect_result(&d->lookup->addr, fd, &d->why) == 0)
		finish(d, TAKE_FD(d->fd), NULL);
	else
		try_next(d);
}

static int await_connection(struct dial *d)
{
	d->wait = event_new(d->base, d->fd, EV_WRITE, on_connected, d);
	d->deadline = timer_start(d->base, CONNECT_TIMEOUT_MS, on_connect_deadline, d);
	return d->wait && d->deadline && event_add(d->wait, NULL) == 0 ? 0 : -ENOMEM;
}

static void try_next(struct dial *d)
{
	struct lookup *l = d->lookup;
	int r;

	do {
		d->wait = timer_free(d->wait);
		d->deadline = timer_free(d->deadline);
		d->fd = close_fd(d->fd);
		if (d->next >= l->n_targets) {
			fail(d);
			return;
		}
		merr_clear(&d->why);
		r = sock_connect(&l->addr, &l->targets[d->next++], &d->fd, &d->why);
		if (r == 0 && await_connection(d) < 0)
			r = merr_set(&d->why, -ENOMEM, "out of memory");
	} while (r < 0);
}

static void open_listener(struct dial *d)
{
	struct lookup *l = d->lookup;
	struct merr err = MERR_INIT;
	int fd = -1;

	if (sock_listen(&l->addr, l->targets, (size_t)l->n_targets, &fd, &err) < 0)
		finish(d, -1, &err);
	else
		finish(d, fd, NULL);
}

static void on_looked_up(evutil_socket_t fd, short what, void *opaque)
{
	struct dial *d = opaque;
	struct merr err;

	(void)what;
	wake_drain(fd); /* what the thread wrote before it raised this is seen after it */
	if (d->lookup->n_targets <= 0) {
		err = d->lookup->err;
		(void)merr_set(&err, -EHOSTUNREACH, "the name has no address");
		finish(d, -1, &err);
	} else if (d->lookup->listen) {
		open_listener(d);
	} else {
		try_next(d);
	}
}

static void on_look_up_deadline(evutil_socket_t fd, short what, void *opaque)
{
	struct dial *d = opaque;
	struct merr err = MERR_INIT;

	(void)fd;
	(void)what;
	(void)merr_set(&err, -ETIMEDOUT,
		       "address resolution of '%s' took longer than %u s; are the name servers up? A numeric address "
		       "needs none",
		       d->lookup->addr.host, LOOK_UP_TIMEOUT_MS / 1000);
	finish(d, -1, &err);
}

static int start_look_up(struct dial *d)
{
	d->wait = timer_free(d->wait);
	d->wait = event_new(d->base, d->lookup->done_fd, EV_READ, on_looked_up, d);
	d->deadline = timer_start(d->base, LOOK_UP_TIMEOUT_MS, on_look_up_deadline, d);
	if (!d->wait || !d->deadline || event_add(d->wait, NULL) < 0)
		return -ENOMEM;
	return lookup_start_thread(d->lookup);
}

static void start(evutil_socket_t fd, short what, void *opaque)
{
	struct dial *d = opaque;
	struct merr err = MERR_INIT;
	int r;

	(void)fd;
	(void)what;
	r = start_look_up(d);
	if (r < 0) {
		(void)merr_set_errno(&err, r, "cannot look up names: no thread");
		finish(d, -1, &err);
	}
}

static struct dial *dial_new(struct event_base *base, const struct addr *a, bool listen,
			     unsigned int delay_ms, dial_fn fn, void *opaque)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->base = base;
	d->fd = -1;
	d->fn = fn;
	d->opaque = opaque;
	d->lookup = lookup_new(a, listen);
	d->wait = timer_start(base, delay_ms, start, d);
	return d->lookup && d->wait ? d : dial_cancel(d);
}

struct dial *dial_connect(struct event_base *base, const struct addr *a, unsigned int delay_ms,
			  dial_fn fn, void *opaque)
{
	return dial_new(base, a, false, delay_ms, fn, opaque);
}

struct dial *dial_listen(struct event_base *base, const struct addr *a, dial_fn fn, void *opaque)
{
	return dial_new(base, a, true, 0, fn, opaque);
}
