/* SPDX-License-Identifier: Apache-2.0 */
/* The QMP server: listeners, the list of sessions, events. */
#include "qmp/server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "qmp/builtin.h"
#include "qmp/internal.h"
#include "qmp/printer.h"

/* How long a listener rests after accept() failed for want of descriptors or memory. */
#define ACCEPT_RETRY_SEC 1
/* Clients that connect at the same time; then others get a turn. */
#define ACCEPT_AT_ONCE 64

static void on_turns(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	qmp_server_take_turns(arg);
}

static size_t count(const struct qmp_command *commands)
{
	size_t n = 0;

	while (commands && commands[n].name)
		n++;
	return n;
}

static int compare(const void *a, const void *b)
{
	return strcmp((*(const struct qmp_command *const *)a)->name, (*(const struct qmp_command *const *)b)->name);
}

static int sort_commands(struct qmp_server *s)
{
	size_t n_own = count(qmp_builtin_commands), n = n_own + count(s->options.commands);

	assert(n_own > 0);
	s->by_name = calloc(n, sizeof(s->by_name[0]));
	if (!s->by_name)
		return -ENOMEM;
	s->n_commands = n;
	for (size_t i = 0; i < n; i++)
		s->by_name[i] = i < n_own ? &qmp_builtin_commands[i] : &s->options.commands[i - n_own];
	qsort(s->by_name, n, sizeof(s->by_name[0]), compare);
	return 0;
}

void qmp_server_set_limits(struct qmp_server *s, const struct qmp_server_limits *limits)
{
	struct qmp_server_limits *l = &s->options.limits;

	*l = *limits;
	if (!l->sessions)
		l->sessions = QMP_MAX_SESSIONS;
	if (!l->held_bytes)
		l->held_bytes = QMP_MAX_HELD_BYTES;
	s->parser_limits = qmp_parser_default_limits;
	if (l->message_bytes && l->message_bytes < s->parser_limits.text_bytes)
		s->parser_limits.text_bytes = l->message_bytes;
	if (l->nesting && l->nesting < s->parser_limits.nesting)
		s->parser_limits.nesting = l->nesting;
}

struct qmp_server *qmp_server_new(const struct qmp_server_options *options)
{
	struct qmp_server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->refs = 1;
	s->options = *options;
	qmp_server_set_limits(s, &options->limits);
	TAILQ_INIT(&s->sessions);
	TAILQ_INIT(&s->ready);
	TAILQ_INIT(&s->listeners);
	s->turns = evtimer_new(options->base, on_turns, s);
	if (!s->turns || sort_commands(s) < 0)
		return qmp_server_free(s);
	return s;
}

static void listener_free(struct qmp_listener *l)
{
	TAILQ_REMOVE(&l->server->listeners, l, entry);
	if (l->acceptable)
		event_free(l->acceptable);
	if (l->retry)
		event_free(l->retry);
	(void)close_fd(l->fd);
	free(l->guest);
	free(l);
}

void qmp_server_unref(struct qmp_server *s)
{
	if (--s->refs == 0)
		free(s);
}

struct qmp_server *qmp_server_free(struct qmp_server *s)
{
	struct qmp_listener *listener;
	struct qmp_session *session;

	if (!s)
		return NULL;
	while ((listener = TAILQ_FIRST(&s->listeners)))
		listener_free(listener);
	while ((session = TAILQ_FIRST(&s->sessions)))
		qmp_session_close(session);
	if (s->turns)
		event_free(s->turns);
	free(s->by_name);
	/* Calls that are still open have nobody to tell. */
	s->options.answered = NULL;
	qmp_server_unref(s);
	return NULL;
}

static int add_session(struct qmp_server *s, int fd, const char *guest, bool read_only, struct merr *err);

/* Too many clients: say so, and go on without this one. */
static void refuse(const struct qmp_server *s, int fd)
{
	struct merr err = MERR_INIT;
	struct buf line = { 0 };
	json_t *object;

	(void)merr_set(&err, -EUSERS, "too many clients: there are %u already", s->options.limits.sessions);
	object = qmp_error_object(&err);
	if (object) {
		qmp_print(&line, object);
		buf_add_str(&line, "\r\n");
		if (!line.error)
			(void)send(fd, line.data, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	json_decref(object);
	buf_done(&line);
	(void)close_fd(fd);
}

static void on_acceptable(evutil_socket_t listen_fd, short what, void *arg)
{
	static const struct timeval rest = { .tv_sec = ACCEPT_RETRY_SEC };
	struct qmp_listener *l = arg;
	int fd = 0;

	(void)what;
	for (int i = 0; i < ACCEPT_AT_ONCE && fd >= 0; i++) {
		fd = fd_accept(listen_fd);
		if (fd >= 0)
			(void)add_session(l->server, fd, l->guest, l->read_only, NULL);
	}
	if (fd < 0 && fd != -EAGAIN) {
		(void)event_del(l->acceptable);
		(void)event_add(l->retry, &rest);
	}
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct qmp_listener *l = arg;

	(void)fd;
	(void)what;
	(void)event_add(l->acceptable, NULL);
}

static int listen_on(struct qmp_server *s, int fd, const char *guest, bool read_only, struct merr *err)
{
	struct qmp_listener *l = calloc(1, sizeof(*l));

	if (!l) {
		(void)close_fd(fd);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	l->server = s;
	l->fd = fd;
	l->read_only = read_only;
	TAILQ_INSERT_TAIL(&s->listeners, l, entry);
	l->acceptable = event_new(s->options.base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	l->retry = event_new(s->options.base, -1, 0, on_retry, l);
	if (guest)
		l->guest = strdup(guest);
	if (!l->acceptable || !l->retry || (guest && !l->guest) || fd_set_nonblock(fd, true) < 0 ||
	    event_add(l->acceptable, NULL) < 0) {
		listener_free(l);
		return merr_set(err, -ENOMEM, "cannot listen for QMP clients");
	}
	return 0;
}

int qmp_server_listen(struct qmp_server *s, int fd, const char *guest, struct merr *err)
{
	return listen_on(s, fd, guest, false, err);
}

int qmp_server_listen_read_only(struct qmp_server *s, int fd, struct merr *err)
{
	return listen_on(s, fd, NULL, true, err);
}

void qmp_server_unlisten(struct qmp_server *s, int fd)
{
	struct qmp_listener *l, *next;

	for (l = TAILQ_FIRST(&s->listeners); l; l = next) {
		next = TAILQ_NEXT(l, entry);
		if (l->fd == fd)
			listener_free(l);
	}
}

static int add_session(struct qmp_server *s, int fd, const char *guest, bool read_only, struct merr *err)
{
	if (s->n_sessions >= s->options.limits.sessions) {
		s->n_dropped++;
		refuse(s, fd);
		return merr_set(err, -EUSERS, "too many QMP clients: there are %u already", s->options.limits.sessions);
	}
	return qmp_session_new(s, fd, guest, read_only, err);
}

int qmp_server_add_session(struct qmp_server *s, int fd, const char *guest, struct merr *err)
{
	return add_session(s, fd, guest, false, err);
}

static bool is_bound_to(const char *bound, const char *guest)
{
	return bound && strcmp(bound, guest) == 0;
}

void qmp_server_close_sessions(struct qmp_server *s, const char *guest)
{
	struct qmp_session *session, *next;

	for (session = TAILQ_FIRST(&s->sessions); session; session = next) {
		next = TAILQ_NEXT(session, entry);
		if (is_bound_to(session->guest, guest))
			qmp_session_close(session);
	}
}

void qmp_server_close_guest(struct qmp_server *s, const char *guest)
{
	struct qmp_listener *listener, *next_listener;

	for (listener = TAILQ_FIRST(&s->listeners); listener; listener = next_listener) {
		next_listener = TAILQ_NEXT(listener, entry);
		if (is_bound_to(listener->guest, guest))
			listener_free(listener);
	}
	qmp_server_close_sessions(s, guest);
}

unsigned int qmp_server_n_sessions(const struct qmp_server *s)
{
	return s->n_sessions;
}

uint64_t qmp_server_n_dropped(const struct qmp_server *s)
{
	return s->n_dropped;
}

void qmp_server_review_rights(struct qmp_server *s)
{
	struct qmp_session *session;

	TAILQ_FOREACH(session, &s->sessions, entry)
		qmp_session_review_rights(session);
}

static bool wants_event(const struct qmp_session *s, const char *guest)
{
	return s->negotiated && (!s->guest || (guest && strcmp(s->guest, guest) == 0));
}

void qmp_server_event(struct qmp_server *s, const char *name, const char *guest, json_t *data)
{
	json_t *event = qmp_event_object(name, data);
	struct qmp_session *session, *next;
	struct buf line = { 0 };

	if (event) {
		qmp_print(&line, event);
		buf_add_str(&line, "\r\n");
	}
	for (session = TAILQ_FIRST(&s->sessions); session; session = next) {
		next = TAILQ_NEXT(session, entry);
		if (!wants_event(session, guest))
			continue;
		/* Rather no client than one that missed an event. */
		if (!event || line.error)
			qmp_session_close(session);
		else
			qmp_session_send_line(session, line.data, line.len);
	}
	buf_done(&line);
	json_decref(event);
}
