/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the host's shared ports: bounded, looked at, passed on or sent away. */
#include "daemon/arrivals.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/expected.h"
#include "daemon/farewell.h"
#include "daemon/greeter.h"
#include "daemon/link.h"
#include "daemon/rendezvous.h"
#include "daemon/timer.h"
#include "transport/origin.h"
#include "transport/sock.h"

/* The greeter's tables have room for a few that were shut down and not yet said. */
#define UNDECIDED_MAX (GREETER_CONNECTIONS_MAX - 64)
/* A greeter that says nothing about a connection that was shut down hangs. */
#define GREETER_PATIENCE_NS (5 * NS_PER_SEC)
#define ARRIVAL_TIMEOUT_NS  (ARRIVAL_TIMEOUT_MS * NS_PER_MS)
#define TRY_AGAIN_MS	    5U
#define TICK_MS		    250U
/* So many refusals are logged in so long; the others are counted. */
#define LOG_MAX	   10U
#define LOG_PERIOD (10 * NS_PER_SEC)
#define PEER_MAX   (ADDR_HOST_MAX + ADDR_PORT_MAX + 8)

struct arrival {
	TAILQ_ENTRY(arrival) entry;
	struct arrival_counts *counts;
	uint32_t id;
	int fd;
	struct origin origin;
	uint64_t since_ns;
	bool late; /* it was shut down: the greeter is about to say that it is closed */
};

struct arrivals {
	struct daemon *daemon;
	struct greeter *greeter;
	struct farewells *farewells;
	void (*resume)(struct daemon *d);
	TAILQ_HEAD(arrival_list, arrival) undecided; /* in the order they came */
	unsigned int n;
	uint32_t last_id;
	struct arrival *unsent; /* the newest: the greeter had no time for it yet */
	struct event *retry;	/* for UNSENT */
	struct event *tick;	/* looks for deadlines, as long as there are any */
	uint64_t log_since_ns;
	unsigned int logged, unlogged;
};

/* The one of ORIGIN that waits longest, if there are too many of them. */
static struct arrival *excess_of(const struct arrivals *as, const struct origin *origin)
{
	struct arrival *a, *oldest = NULL;
	unsigned int n = 0;

	if (!origin_is_known(origin))
		return NULL;
	TAILQ_FOREACH(a, &as->undecided, entry) {
		if (!origin_equals(&a->origin, origin))
			continue;
		if (!oldest)
			oldest = a;
		n++;
	}
	return n >= ARRIVALS_BY_SOURCE_MAX ? oldest : NULL;
}

/* ---- the end of one ---- */

static const char *const refusals[HOST_REFUSAL__MAX] = {
	[HOST_REFUSAL_UNNAMED] = ("it does not say which guest it is for. A QEMU cannot: give that guest a port of its own "
				  "(migrate-incoming with tcp:HOST:PORT). A migd does if migrate's address has ',guest=NAME'"),
	[HOST_REFUSAL_MALFORMED] = "it begins with something that is no migration",
	[HOST_REFUSAL_TOO_LONG] = "its greeting is too long, or in too many pieces",
	[HOST_REFUSAL_TOO_LATE] = "it did not say in time which guest it is for",
	[HOST_REFUSAL_CLOSED] = "it ended before it said which guest it is for",
	[HOST_REFUSAL_TOO_MANY] = "too many connections wait to be looked at, and this one waited longest",
	[HOST_REFUSAL_NO_SUCH_GUEST] = "no guest of that name is here",
	[HOST_REFUSAL_NOT_WAITING] = "that guest does not wait for it here: migrate-incoming with 'shared:' comes first",
	[HOST_REFUSAL_NOT_ENCRYPTED] = "it is not under TLS, without which nothing is received here",
	[HOST_REFUSAL_NO_CREDENTIALS] = "it is under TLS, and that guest has no TLS credentials here",
	[HOST_REFUSAL_WORKER_BUSY] = "the guest's worker has too many connections to look at",
	[HOST_REFUSAL_GREETER_LOST] = "the greeter died while it looked at it",
};

/* So that a flood of connections is none of log lines. */
static bool may_log(struct arrivals *as)
{
	uint64_t now = clock_now_ns();

	if (now - as->log_since_ns >= LOG_PERIOD) {
		if (as->unlogged)
			log_notice("%u more connections to the host's shared ports were refused; "
				   "query-host-listeners counts them",
				   as->unlogged);
		as->log_since_ns = now;
		as->logged = as->unlogged = 0;
	}
	if (as->logged < LOG_MAX) {
		as->logged++;
		return true;
	}
	as->unlogged++;
	return false;
}

/* Its descriptor is somebody else's by now. */
static void forget(struct arrivals *as, struct arrival *a)
{
	TAILQ_REMOVE(&as->undecided, a, entry);
	as->n--;
	a->counts->undecided--;
	if (as->unsent == a)
		as->unsent = NULL;
	free(a);
}

static void log_refusal(struct arrivals *as, const struct arrival *a, enum host_refusal why, const char *guest)
{
	char peer[PEER_MAX];

	if (!may_log(as))
		return;
	log_notice("a connection to a shared port was refused: %s peer='%s'%s%s%s", refusals[why],
		   sock_peer_name(a->fd, peer, sizeof(peer)), guest ? " guest='" : "", guest ? guest : "",
		   guest ? "'" : "");
}

/* The greeter has it, too: only a shutdown ends it for both. */
static void drop(struct arrivals *as, struct arrival *a, enum host_refusal why)
{
	log_refusal(as, a, why, NULL);
	a->counts->refused[why]++;
	(void)shutdown(a->fd, SHUT_RDWR);
	close_fd(a->fd);
	forget(as, a);
}

/*
 * The same, with a word to the peer. Which guests there are is nobody's business who does not know it: one that is not
 * here and one that does not wait look the same. G: what it said; NULL: a stream, which may be a QEMU's.
 */
static void send_away(struct arrivals *as, struct arrival *a, enum host_refusal why, const struct greeting *g)
{
	enum host_refusal told = why == HOST_REFUSAL_NO_SUCH_GUEST ? HOST_REFUSAL_NOT_WAITING : why;

	log_refusal(as, a, why, g ? g->guest : NULL);
	a->counts->refused[why]++;
	farewell(as->farewells, a->fd, g && g->tls, g != NULL, refusals[told]);
	forget(as, a);
}

/* ---- what the greeter says ---- */

static void on_announced(struct arrivals *as, struct arrival *a, const struct greeting *g)
{
	enum host_refusal why = expected_hear(as->daemon->expected, a->fd, g, a->origin.bytes, sizeof(a->origin.bytes));

	if (why != HOST_REFUSAL__INVALID) {
		send_away(as, a, why, g);
		return;
	}
	a->counts->passed++;
	forget(as, a);
}

static void on_named(struct arrivals *as, struct arrival *a, const struct greeting *g)
{
	enum host_refusal why;
	struct migration *m = rendezvous_find(as->daemon, g, &why);

	if (m && link_arrival(m, a->fd) < 0) {
		why = HOST_REFUSAL_WORKER_BUSY;
		m = NULL;
	}
	if (!m) {
		send_away(as, a, why, g);
		return;
	}
	a->counts->passed++;
	close_fd(a->fd);
	forget(as, a);
}

static struct arrival *find(const struct arrivals *as, uint32_t id)
{
	struct arrival *a;

	TAILQ_FOREACH(a, &as->undecided, entry)
		if (a->id == id)
			return a;
	return NULL;
}

static void on_says(void *opaque, const struct greeter_says *s)
{
	struct arrivals *as = opaque;
	struct arrival *a = find(as, s->id);

	/* One that was dropped meanwhile. */
	if (!a)
		return;
	switch (s->verdict) {
	case GREETING_NAMED:
		if (s->greeting.announces)
			on_announced(as, a, &s->greeting);
		else
			on_named(as, a, &s->greeting);
		break;
	case GREETING_STREAM:
		send_away(as, a, HOST_REFUSAL_UNNAMED, NULL);
		break;
	case GREETING_NO_NAME:
		send_away(as, a, HOST_REFUSAL_UNNAMED, &(struct greeting){ .tls = true });
		break;
	case GREETING_TOO_LONG:
		drop(as, a, HOST_REFUSAL_TOO_LONG);
		break;
	case GREETER_CLOSED:
		drop(as, a, a->late ? HOST_REFUSAL_TOO_LATE : HOST_REFUSAL_CLOSED);
		break;
	default:
		drop(as, a, HOST_REFUSAL_MALFORMED);
	}
}

static void drop_all(struct arrivals *as, enum host_refusal why)
{
	struct arrival *a, *next;

	for (a = TAILQ_FIRST(&as->undecided); a; a = next) {
		next = TAILQ_NEXT(a, entry);
		if (a != as->unsent)
			drop(as, a, why);
	}
}

static void on_greeter_lost(void *opaque)
{
	struct arrivals *as = opaque;

	drop_all(as, HOST_REFUSAL_GREETER_LOST);
}

static const struct greeter_handler greeter_handler = { on_says, on_greeter_lost };

/* ---- deadlines ---- */

static void look_at_deadline(struct arrivals *as, struct arrival *a, uint64_t now)
{
	if (a == as->unsent) {
		drop(as, a, HOST_REFUSAL_TOO_LATE);
	} else if (!a->late) {
		a->late = true;
		(void)shutdown(a->fd, SHUT_RD);
	} else if (now >= a->since_ns + ARRIVAL_TIMEOUT_NS + GREETER_PATIENCE_NS) {
		greeter_give_up(as->greeter, "it does not answer");
	}
}

static void on_tick(evutil_socket_t fd, short what, void *opaque)
{
	struct arrivals *as = opaque;
	uint64_t now = clock_now_ns();
	struct arrival *a, *next;

	(void)fd;
	(void)what;
	for (a = TAILQ_FIRST(&as->undecided); a && now >= a->since_ns + ARRIVAL_TIMEOUT_NS; a = next) {
		next = TAILQ_NEXT(a, entry);
		look_at_deadline(as, a, now);
	}
	as->tick = timer_free(as->tick);
	if (as->n > 0)
		as->tick = timer_start(as->daemon->base, TICK_MS, on_tick, as);
}

/* ---- in ---- */

static void on_retry(evutil_socket_t fd, short what, void *opaque);

static void submit(struct arrivals *as, struct arrival *a)
{
	as->unsent = greeter_look(as->greeter, a->id, a->fd) < 0 ? a : NULL;
	if (as->unsent)
		as->retry = timer_start(as->daemon->base, TRY_AGAIN_MS, on_retry, as);
}

static void on_retry(evutil_socket_t fd, short what, void *opaque)
{
	struct arrivals *as = opaque;

	(void)fd;
	(void)what;
	as->retry = timer_free(as->retry);
	if (as->unsent)
		submit(as, as->unsent);
	if (!as->unsent)
		as->resume(as->daemon);
}

bool arrivals_ready(const struct arrivals *as)
{
	return !as->retry;
}

static void make_room(struct arrivals *as, const struct origin *origin)
{
	struct arrival *a = as->n >= UNDECIDED_MAX ? TAILQ_FIRST(&as->undecided) : excess_of(as, origin);

	if (a)
		drop(as, a, HOST_REFUSAL_TOO_MANY);
}

void arrivals_add(struct arrivals *as, int fd, struct arrival_counts *counts)
{
	struct arrival *a = calloc(1, sizeof(*a));

	if (!a) {
		close_fd(fd);
		return;
	}
	*a = (struct arrival){ .counts = counts, .id = ++as->last_id, .fd = fd, .origin = origin_of(fd),
			       .since_ns = clock_now_ns() };
	make_room(as, &a->origin);
	TAILQ_INSERT_TAIL(&as->undecided, a, entry);
	as->n++;
	counts->connections++;
	counts->undecided++;
	if (!as->tick)
		as->tick = timer_start(as->daemon->base, TICK_MS, on_tick, as);
	submit(as, a);
}

void arrivals_forget(struct arrivals *as, const struct arrival_counts *counts)
{
	struct arrival *a, *next;

	for (a = TAILQ_FIRST(&as->undecided); a; a = next) {
		next = TAILQ_NEXT(a, entry);
		if (a->counts != counts)
			continue;
		(void)shutdown(a->fd, SHUT_RDWR);
		close_fd(a->fd);
		forget(as, a);
	}
}

struct arrivals *arrivals_new(struct daemon *d, void (*resume)(struct daemon *d))
{
	struct arrivals *as = calloc(1, sizeof(*as));

	if (!as)
		return NULL;
	as->daemon = d;
	as->resume = resume;
	TAILQ_INIT(&as->undecided);
	as->greeter = greeter_new(d->base, d->exe_fd, &greeter_handler, as);
	as->farewells = farewells_new(d->base);
	return as->greeter && as->farewells ? as : arrivals_free(as);
}

struct arrivals *arrivals_free(struct arrivals *as)
{
	struct arrival *a;

	if (!as)
		return NULL;
	while ((a = TAILQ_FIRST(&as->undecided))) {
		close_fd(a->fd);
		forget(as, a);
	}
	(void)timer_free(as->retry);
	(void)timer_free(as->tick);
	as->greeter = greeter_free(as->greeter);
	as->farewells = farewells_free(as->farewells);
	free(as);
	return NULL;
}
