/* SPDX-License-Identifier: Apache-2.0 */
/* A session: its socket, and its life. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "qmp/internal.h"

/* The other side closed altogether: nobody is left to answer. */
static bool peer_is_gone(const struct qmp_session *s)
{
	struct pollfd p = { .fd = s->fd };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

/*
 * Clients are heard before everything else (where the loop has priorities), but not so many times a second that nothing
 * else were heard: then they wait with the others.
 */
static void set_priority(struct qmp_session *s)
{
	struct rate *urgent = &s->server->urgent;
	uint64_t now = clock_now_ns();
	bool is_urgent = rate_wait_ns(urgent, QMP_URGENT_READS, now) == 0;

	if (is_urgent)
		rate_take(urgent, QMP_URGENT_READS, now);
	(void)event_priority_set(s->readable, is_urgent ? 0 : 1);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * QMP_MAX_FDS)];
		struct cmsghdr align;
	} control;
	struct qmp_session *s = arg;
	struct iovec iov = { s->server->in, sizeof(s->server->in) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	(void)what;
	set_priority(s);
	n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			qmp_session_close(s);
		return;
	}
	fd_queue_add(&s->fds, &msg, s->position);
	s->in = s->server->in;
	s->in_at = 0;
	s->in_len = (size_t)n;
	s->eof = n == 0;
	if (s->eof && peer_is_gone(s))
		qmp_session_close(s);
	else
		qmp_session_take_turn(s);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct qmp_session *s = arg;

	(void)fd;
	(void)what;
	s->refs++;
	qmp_session_flush(s);
	/* It may have waited for this. */
	qmp_session_wake(s);
	qmp_session_unref(s);
}

static void on_rested(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	qmp_session_wake(arg);
}

void qmp_session_unref(struct qmp_session *s)
{
	if (--s->refs > 0)
		return;
	qmp_peer_done(&s->peer);
	qmp_server_unref(s->server);
	free(s->guest);
	free(s);
}

void qmp_session_review_rights(struct qmp_session *s)
{
	const struct qmp_server_options *o = &s->server->options;

	s->rights = o->rights ? o->rights(o->opaque, &s->peer) : QMP_ACCESS_ALL;
	if (s->read_only)
		s->rights &= QMP_ACCESS_BIT(QMP_ACCESS_READ);
}

int qmp_session_may(const struct qmp_session *s, enum qmp_access access, struct merr *err)
{
	const struct qmp_server_options *o;

	if (s->rights & QMP_ACCESS_BIT(access))
		return 0;
	if (s->fd < 0)
		return merr_set(err, -EPERM, "the client has left");
	if (s->read_only && access != QMP_ACCESS_READ)
		return merr_set(err, -EPERM, "it takes class '%s', and this socket is read-only: use migd's other one",
				qmp_access_str(access));
	o = &s->server->options;
	return o->refuse(o->opaque, &s->peer, access, err);
}

static struct event *free_event(struct event *e)
{
	if (e)
		event_free(e);
	return NULL;
}

/* What only an open session has. */
static void release(struct qmp_session *s)
{
	struct qmp_call *call;

	s->readable = free_event(s->readable);
	s->writable = free_event(s->writable);
	s->rested = free_event(s->rested);
	s->fd = close_fd(s->fd);
	qmp_session_forget_input(s);
	while ((call = TAILQ_FIRST(&s->queue))) {
		TAILQ_REMOVE(&s->queue, call, entry);
		(void)qmp_call_free(call);
	}
	s->n_queued = 0;
	qmp_parser_done(&s->parser);
	fd_queue_done(&s->fds);
	fd_batch_done(&s->unclaimed);
	named_fds_done(&s->named_fds);
	buf_done(&s->out);
	s->out_at = 0;
}

void qmp_session_close(struct qmp_session *s)
{
	if (s->fd < 0)
		return;
	qmp_session_send_last(s);
	qmp_session_forget_held(s);
	if (s->ready)
		TAILQ_REMOVE(&s->server->ready, s, ready_entry);
	s->ready = false;
	TAILQ_REMOVE(&s->server->sessions, s, entry);
	s->server->n_sessions--;
	release(s);
	qmp_session_unref(s);
}

void qmp_session_drop(struct qmp_session *s, const char *why)
{
	log_warning("a QMP client is dropped: %s uid=%u pid=%d comm='%s' session=%" PRIu64, why, (unsigned int)s->peer.uid,
		    (int)s->peer.pid, s->peer.comm, s->number);
	s->server->n_dropped++;
	qmp_session_close(s);
}

static int make_events(struct qmp_session *s)
{
	struct event_base *base = s->server->options.base;

	s->readable = event_new(base, s->fd, EV_READ | EV_PERSIST, on_readable, s);
	if (s->readable)
		(void)event_priority_set(s->readable, 0);
	s->writable = event_new(base, s->fd, EV_WRITE, on_writable, s);
	s->rested = evtimer_new(base, on_rested, s);
	if (!s->readable || !s->writable || !s->rested || event_add(s->readable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static int send_greeting(struct qmp_session *s)
{
	json_t *greeting = qmp_greeting(&s->server->options);

	if (!greeting)
		return -ENOMEM;
	qmp_session_send(s, greeting);
	json_decref(greeting);
	return 0;
}

int qmp_session_new(struct qmp_server *server, int fd, const char *guest, bool read_only, struct merr *err)
{
	struct qmp_session *s = calloc(1, sizeof(*s));
	int r;

	if (!s || fd_set_nonblock(fd, true) < 0 || (guest && !(s->guest = strdup(guest)))) {
		free(s);
		(void)close_fd(fd);
		return merr_set(err, -ENOMEM, "cannot set up a QMP session");
	}
	r = qmp_peer_read(fd, &s->peer);
	if (r < 0) {
		free(s->guest);
		free(s);
		(void)close_fd(fd);
		return merr_set_errno(err, r, "cannot tell who a QMP client is");
	}
	s->server = server;
	server->refs++;
	s->number = ++server->last_number;
	s->read_only = read_only;
	qmp_session_review_rights(s);
	s->opaque = server->options.opaque;
	s->fd = fd;
	s->parser.limits = &server->parser_limits;
	s->refs = 1;
	TAILQ_INIT(&s->queue);
	TAILQ_INIT(&s->named_fds.list);
	TAILQ_INSERT_TAIL(&server->sessions, s, entry);
	server->n_sessions++;
	if (make_events(s) < 0 || send_greeting(s) < 0) {
		qmp_session_close(s);
		return merr_set(err, -ENOMEM, "cannot set up a QMP session: out of memory");
	}
	return 0;
}
