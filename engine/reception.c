/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of an incoming migration. */
#include "engine/reception.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "engine/credentials.h"
#include "engine/migration.h"
#include "engine/return-path.h"
#include "transport/greeting.h"
#include "transport/origin.h"

/*
 * Of each at most: those who come without end are not to keep anybody from what else there is to do. Each who comes makes two
 * or three events: so many come at a time that those who left make room for them.
 */
#define EVENTS_PER_CALL	 128
#define ACCEPTS_PER_CALL 16
#define READS_PER_CALL	 16

/*
 * Edge-triggered: a peer that sent one byte of four is not looked at again until it sends more. The first look is taken
 * unasked.
 */
#define VISITOR_EVENTS (EPOLLIN | EPOLLOUT | EPOLLET)

/* Origins that are told apart in a crowd. */
#define CROWDS 256

enum progress {
	PROGRESS_HANDSHAKE = 0,
	PROGRESS_HEAD,	/* the first bytes are awaited; of the preamble, or those behind it */
	PROGRESS_KNOWN,
	PROGRESS_LEAVING,	/* refused, and told so */
};

struct visitor {
	TAILQ_ENTRY(visitor) entry;
	struct chan *chan;
	enum progress progress;
	bool greeted;		/* the preamble was read */
	bool encrypted;
	enum arrival kind;	/* PROGRESS_KNOWN */
	struct origin origin;
	uint64_t deadline_ns;
};

struct reception {
	struct migration *m;
	int epoll_fd;
	bool listening;
	bool shared;	/* connections come by M's arrivals */
	bool keep_silent;
	unsigned int n;
	TAILQ_HEAD(, visitor) visitors;	/* in the order they came */
	reception_refuse_fn refuse;
	void *opaque;
};

static void dismiss(struct reception *r, struct visitor *v)
{
	TAILQ_REMOVE(&r->visitors, v, entry);
	r->n--;
	(void)chan_free(v->chan);
	free(v);
}

static void turn_away(struct reception *r, struct visitor *v, struct merr *why)
{
	r->refuse(r->opaque, why);
	dismiss(r, v);
}

/* Refused, but not gone: its bytes are read until it closes. */
static void say_goodbye(struct reception *r, struct visitor *v, struct merr *why)
{
	r->refuse(r->opaque, why);
	chan_shutdown_write(v->chan);
	v->progress = PROGRESS_LEAVING;
	v->deadline_ns = clock_now_ns() + RECEPTION_GOODBYE_MS * NS_PER_MS;
}

/* True: it has closed. */
static bool read_out(struct reception *r, struct visitor *v)
{
	struct epoll_event again = { .events = VISITOR_EVENTS, .data.ptr = v };
	uint8_t scratch[4096];
	ssize_t n = 1;

	for (int i = 0; i < READS_PER_CALL && n > 0; i++)
		n = recv(chan_fd(v->chan), scratch, sizeof(scratch), MSG_DONTWAIT);
	/* The edge is still to come for what was left. */
	if (n > 0)
		return epoll_ctl(r->epoll_fd, EPOLL_CTL_MOD, chan_fd(v->chan), &again) < 0;
	return n == 0 || (errno != EAGAIN && errno != EINTR);
}

static bool is_listening(int fd)
{
	socklen_t len = sizeof(int);
	int listening = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

static bool is_socket(int fd)
{
	socklen_t len = sizeof(int);
	int type;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
}

static int watch(struct reception *r, int fd, void *data, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = data };

	return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static const char *awaited_name(const struct reception *r)
{
	const struct worker_start *s = &r->m->start;

	return s->has_shared_name ? s->shared_name : s->guest;
}

/* Read the preamble. -EAGAIN: it is not all there; else -errno with WHY. */
static int read_preamble(struct reception *r, struct visitor *v, struct merr *why)
{
	uint8_t bytes[GREETING_LEN];
	struct greeting g;
	ssize_t n = chan_peek(v->chan, bytes, sizeof(bytes));

	if (n < (ssize_t)sizeof(bytes))
		return -EAGAIN;
	if (greeting_read(bytes, sizeof(bytes), &g) != GREETING_NAMED)
		return merr_set(why, -EBADMSG, "its preamble is malformed");
	if (strcmp(g.guest, awaited_name(r)) != 0)
		return merr_set(why, -EHOSTUNREACH, "it is for guest '%s', and guest '%s' waits here", g.guest,
				awaited_name(r));
	n = chan_read(v->chan, bytes, sizeof(bytes), 0);
	if (n != sizeof(bytes))
		return merr_set(why, -EIO, "its preamble cannot be read");
	v->greeted = true;
	return 0;
}

/* True: bytes were taken, look again. */
static bool look_past_preamble(struct reception *r, struct visitor *v)
{
	struct merr why = MERR_INIT;
	int res = read_preamble(r, v, &why);

	if (res < 0 && res != -EAGAIN) {
		rp_send_error(v->chan, &why);
		say_goodbye(r, v, &why);
	}
	return res == 0;
}

/* No more bytes will come. */
static bool has_closed(const struct visitor *v)
{
	struct pollfd p = { .fd = chan_fd(v->chan), .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0;
}

/* The first bytes, or what can be said without them. */
static void look(struct reception *r, struct visitor *v)
{
	uint8_t head[ARRIVAL_HEAD_LEN];
	ssize_t n, needs;

	do {
		n = chan_peek(v->chan, head, sizeof(head));
		v->kind = arrival_kind(head, n, v->encrypted, &needs);
		if (n == -EAGAIN || (n > 0 && n < needs && !has_closed(v)))
			return;
		if (v->greeted || n < ARRIVAL_MAGIC_LEN || load_be32(head) != GREETING_MAGIC)
			break;
		if (!look_past_preamble(r, v))
			return;
	} while (true);
	/* A closed or broken one too: the opening says what is wrong with it. */
	v->progress = PROGRESS_KNOWN;
	(void)epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, chan_fd(v->chan), NULL);
}

static void greet(const struct reception *r, struct visitor *v)
{
	char text[128];

	v->progress = PROGRESS_HEAD;
	v->encrypted = chan_describe(v->chan, text, sizeof(text))[0] != '\0';
	if (v->encrypted)
		log_info("connection is encrypted: %s mig=%s", text, r->m->start.id);
}

static void advance(struct reception *r, struct visitor *v)
{
	struct merr why = MERR_INIT;
	short events = 0;
	int res;

	if (v->progress == PROGRESS_HANDSHAKE) {
		res = chan_handshake(v->chan, &events, &why);
		if (res == -EAGAIN)
			return;
		if (res == 0)
			greet(r, v);
		else
			say_goodbye(r, v, &why);
	}
	if (v->progress == PROGRESS_HEAD)
		look(r, v);
	else if (v->progress == PROGRESS_LEAVING && read_out(r, v))
		dismiss(r, v);
}

/* Where to count V's origin. Two origins may share a place: then they are one crowd. */
static size_t crowd_of(const struct visitor *v)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < sizeof(v->origin.bytes); i++)
		hash = hash * 31 + v->origin.bytes[i];
	return hash % CROWDS;
}

/* A source says at once what it is; at the latest, the last of all has not. */
static bool is_unknown(const struct visitor *v)
{
	return v->progress == PROGRESS_HANDSHAKE || v->progress == PROGRESS_HEAD;
}

/* Where most of those come from that did not say what they are. */
static size_t largest_crowd(const struct reception *r)
{
	unsigned int sizes[CROWDS] = { 0 };
	const struct visitor *v;
	size_t largest = 0;

	TAILQ_FOREACH(v, &r->visitors, entry)
		if (is_unknown(v))
			sizes[crowd_of(v)]++;
	for (size_t i = 1; i < CROWDS; i++)
		if (sizes[i] > sizes[largest])
			largest = i;
	return largest;
}

/*
 * Whom there is no room for: one that was refused already; or else, of those from where most come, the first that did not say
 * what it is. So a source keeps its place however many come from elsewhere.
 */
static struct visitor *most_dispensable(const struct reception *r)
{
	size_t crowd = largest_crowd(r);
	struct visitor *v, *unknown = NULL;

	TAILQ_FOREACH(v, &r->visitors, entry) {
		if (v->progress == PROGRESS_LEAVING)
			return v;
		if (!unknown && is_unknown(v) && crowd_of(v) == crowd)
			unknown = v;
	}
	return unknown;
}

/* There is one too many. False: it is LAST, the last of all. */
static bool make_room(struct reception *r, const struct visitor *last)
{
	struct visitor *v = most_dispensable(r);
	struct merr why = MERR_INIT;
	bool stays = v != last;

	(void)merr_set(&why, -EUSERS, "more than %u connections wait, and of those from its address this one waited longest", RECEPTION_MAX);
	if (v->progress == PROGRESS_LEAVING)
		dismiss(r, v);
	else
		turn_away(r, v, &why);
	return stays;
}

/* Takes over FD. */
static void welcome(struct reception *r, int fd)
{
	struct visitor *v = calloc(1, sizeof(*v));
	struct merr why = MERR_INIT;

	if (!v || !(v->chan = chan_new(fd, r->m->cancel_fd))) {
		free(v);
		return;
	}
	v->deadline_ns = clock_now_ns() + RECEPTION_TIMEOUT_MS * NS_PER_MS;
	v->origin = origin_of(chan_fd(v->chan));
	TAILQ_INSERT_TAIL(&r->visitors, v, entry);
	r->n++;
	if (credentials_start(r->m, v->chan, &why) < 0) {
		turn_away(r, v, &why);
		return;
	}
	if (!is_socket(chan_fd(v->chan))) {
		/* A file or a pipe is what it is. */
		v->progress = PROGRESS_KNOWN;
		v->kind = ARRIVAL_MAIN;
		return;
	}
	if (r->n > RECEPTION_MAX && !make_room(r, v))
		return;
	if (watch(r, chan_fd(v->chan), v, VISITOR_EVENTS) < 0)
		dismiss(r, v);
	else
		advance(r, v);
}

static void accept_some(struct reception *r)
{
	int fd;

	for (int i = 0; i < ACCEPTS_PER_CALL && (fd = fd_accept(r->m->stream_fd)) >= 0; i++)
		welcome(r, fd);
}

static void take_arrivals(struct reception *r)
{
	int fd;

	while ((fd = migration_take_arrival(r->m)) >= 0)
		welcome(r, fd);
}

static int open_stream(struct reception *r)
{
	struct migration *m = r->m;

	if (m->stream_fd < 0)
		return 0;
	r->listening = is_listening(m->stream_fd);
	if (r->listening)
		return watch(r, m->stream_fd, NULL, EPOLLIN);
	welcome(r, TAKE_FD(m->stream_fd));
	return 0;
}

struct reception *reception_new(struct migration *m, reception_refuse_fn fn, void *opaque)
{
	struct reception *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	*r = (struct reception){ .m = m, .refuse = fn, .opaque = opaque, .shared = m->start.has_shared_name };
	TAILQ_INIT(&r->visitors);
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (r->epoll_fd < 0 || (r->shared && watch(r, m->arrival_fd, r, EPOLLIN) < 0))
		return reception_free(r);
	return open_stream(r) < 0 ? reception_free(r) : r;
}

void reception_replace(struct reception *r, int fd)
{
	/* A connection says nothing about where others may come from. */
	if (!is_listening(fd)) {
		welcome(r, fd);
		return;
	}
	/* The daemon may have the old one open yet: it would go on to be told of. */
	if (r->listening)
		(void)epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, r->m->stream_fd, NULL);
	(void)close_fd(r->m->stream_fd);
	r->m->stream_fd = fd;
	(void)open_stream(r);
}

struct reception *reception_free(struct reception *r)
{
	if (!r)
		return NULL;
	while (!TAILQ_EMPTY(&r->visitors))
		dismiss(r, TAILQ_FIRST(&r->visitors));
	(void)close_fd(r->epoll_fd);
	free(r);
	return NULL;
}

int reception_fd(const struct reception *r)
{
	return r->epoll_fd;
}

uint64_t reception_deadline(const struct reception *r)
{
	uint64_t first = DEADLINE_NONE;
	const struct visitor *v;

	TAILQ_FOREACH(v, &r->visitors, entry)
		if (v->progress != PROGRESS_KNOWN && !(v->progress == PROGRESS_HEAD && r->keep_silent))
			first = min_u64(first, v->deadline_ns);
	return first;
}

bool reception_open(const struct reception *r)
{
	return r->listening || r->shared;
}

bool reception_hopeful(const struct reception *r)
{
	const struct visitor *v;

	TAILQ_FOREACH(v, &r->visitors, entry)
		if (v->progress != PROGRESS_LEAVING)
			return true;
	return reception_open(r);
}

static void drop_late(struct reception *r)
{
	uint64_t now = clock_now_ns();
	struct visitor *v, *next;
	struct merr why;

	for (v = TAILQ_FIRST(&r->visitors); v; v = next) {
		next = TAILQ_NEXT(v, entry);
		if (v->progress == PROGRESS_KNOWN || v->deadline_ns > now ||
		    (v->progress == PROGRESS_HEAD && r->keep_silent))
			continue;
		if (v->progress == PROGRESS_LEAVING) {
			dismiss(r, v);
			continue;
		}
		why = (struct merr)MERR_INIT;
		(void)merr_set(&why, -ETIMEDOUT, "%s did not come within %d s",
			       v->progress == PROGRESS_HANDSHAKE ? "the end of the handshake" : "its first bytes",
			       RECEPTION_TIMEOUT_MS / 1000);
		turn_away(r, v, &why);
	}
}

void reception_work(struct reception *r)
{
	struct epoll_event events[EVENTS_PER_CALL];
	bool accepts = false, arrivals = false;
	int n;

	n = epoll_wait(r->epoll_fd, events, EVENTS_PER_CALL, 0);
	for (int i = 0; i < n; i++)
		if (!events[i].data.ptr)
			accepts = true;
		else if (events[i].data.ptr == r)
			arrivals = true;
		else
			advance(r, events[i].data.ptr);
	/* Afterwards: new ones may crowd out some of which an event told. */
	if (accepts)
		accept_some(r);
	if (arrivals)
		take_arrivals(r);
	drop_late(r);
}

static struct visitor *find(const struct reception *r, enum arrival kind)
{
	struct visitor *v;

	TAILQ_FOREACH(v, &r->visitors, entry)
		if (v->progress == PROGRESS_KNOWN && v->kind == kind)
			return v;
	return NULL;
}

struct chan *reception_take(struct reception *r, enum arrival kind)
{
	struct visitor *v = find(r, kind);
	struct chan *chan;

	if (!v)
		return NULL;
	chan = TAKE_PTR(v->chan);
	dismiss(r, v);
	return chan;
}

void reception_keep_silent(struct reception *r)
{
	r->keep_silent = true;
}

struct chan *reception_take_silent(struct reception *r)
{
	struct visitor *v;
	struct chan *chan;

	TAILQ_FOREACH(v, &r->visitors, entry)
		if (v->progress == PROGRESS_HEAD)
			break;
	if (!v)
		return NULL;
	(void)epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, chan_fd(v->chan), NULL);
	chan = TAKE_PTR(v->chan);
	dismiss(r, v);
	return chan;
}

unsigned int reception_count(const struct reception *r, enum arrival kind)
{
	const struct visitor *v;
	unsigned int n = 0;

	TAILQ_FOREACH(v, &r->visitors, entry)
		n += v->progress == PROGRESS_KNOWN && v->kind == kind;
	return n;
}
