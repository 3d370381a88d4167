/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QMP server: sessions on libevent, requests checked against the schema, handlers called,
 * replies and events sent.
 *
 * One thread: the event loop's. A handler answers with exactly one qmp_return*() or qmp_fail(),
 * before it returns or at any later time (the call lives until then, also when its client left: the
 * answer is then dropped). In-band calls of one session run one after another, in order. Limits are
 * in the options and in qmp/limits.h; a client that does not read what is sent to it is dropped when
 * its queue is full, one that sends too many commands is read more slowly, and neither ever holds up
 * the others. What is sent leaves in the session's next turn of the event loop.
 */
#ifndef MIGD_QMP_SERVER_H
#define MIGD_QMP_SERVER_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "qmp/peer.h"

struct qmp_server;
struct qmp_call;

/* Classes of commands, by what they can do: the schema's 'access'. */
enum qmp_access {
	QMP_ACCESS_READ,	/* changes nothing */
	QMP_ACCESS_OPERATE,	/* acts on one guest and its migration */
	QMP_ACCESS_ADMIN,	/* changes the host, its guests, objects and settings */
	QMP_ACCESS_PRIVILEGED,	/* opens files by name, or runs programs */
	QMP_ACCESS__MAX
};

/* A set of classes. */
#define QMP_ACCESS_BIT(access) (1U << (access))
#define QMP_ACCESS_ALL (QMP_ACCESS_BIT(QMP_ACCESS__MAX) - 1)

const char *qmp_access_str(enum qmp_access access);

/*
 * One row of the generated table (gen/schema/commands.c; the few commands that qmp/ answers itself
 * are not in it). ARGS is checked and converted before the handler.
 */
struct qmp_command {
	const char *name;
	bool allow_oob;
	bool guest_scoped;	/* takes the optional argument "guest", added by the generator */
	bool host_scoped;	/* about the whole host: not for sessions that are bound to a guest */
	enum qmp_access access;
	/* Convert ARGS and call the handler. 0, or -errno with ERR: the handler was not called. */
	int (*dispatch)(struct qmp_call *call, json_t *args, struct merr *err);
};
/* Ended by a row without a name. */
extern const struct qmp_command qmp_commands[];

/* What clients can make the server hold, and do; 0: as qmp/limits.h says. */
struct qmp_server_limits {
	unsigned int sessions;
	uint32_t message_bytes;	/* of one JSON value; at most QMP_MAX_TEXT_BYTES */
	uint32_t nesting;	/* of its braces and brackets */
	size_t held_bytes;	/* by all sessions together; those that hold most are dropped beyond */
	unsigned int rate;	/* commands a second of one session, after a burst of as many; 0: any */
};

/* A call that was answered. Everything is borrowed. */
struct qmp_answered {
	const struct qmp_peer *peer;
	uint64_t session;	/* a number of its own, from 1 on */
	const char *session_guest;	/* or NULL */
	const char *name;	/* as the client sent it: any text */
	const struct qmp_command *command;	/* NULL: there is none of that name */
	const json_t *arguments;	/* or NULL */
	uint64_t took_ns;	/* from when it was begun */
	bool inner;	/* another command's doing: qmp_call_inner() */
	const char *error_class, *error;	/* NULL: it succeeded */
	bool refused;	/* for its class */
};

struct qmp_server_options {
	struct event_base *base;	/* borrowed */
	const struct qmp_command *commands;	/* qmp_commands; borrowed */
	int major, minor, micro;	/* greeting */
	const char *package;
	struct qmp_server_limits limits;
	void *opaque;			/* qmp_call_opaque(), and the functions' here */
	/*
	 * The set of classes that a client may use; asked once a session, and again by
	 * qmp_server_review_rights(). It must not block. NULL: all of them.
	 */
	unsigned int (*rights)(void *opaque, const struct qmp_peer *peer);
	/* Say in ERR that PEER lacks ACCESS, who it is, and what to do about it; -EPERM. With `rights`. */
	int (*refuse)(void *opaque, const struct qmp_peer *peer, enum qmp_access access, struct merr *err);
	/* For an audit: after the answer, whether its client is still there or not. What was no request is not told. NULL: none. */
	void (*answered)(void *opaque, const struct qmp_answered *a);
};

struct qmp_server *qmp_server_new(const struct qmp_server_options *options);
struct qmp_server *qmp_server_free(struct qmp_server *s);

/*
 * Accept clients on the listening socket FD (taken over). GUEST: sessions on it are bound to that
 * guest; NULL: none.
 */
int qmp_server_listen(struct qmp_server *s, int fd, const char *guest, struct merr *err);

/* The same for clients that may use class read at most, whoever they are. */
int qmp_server_listen_read_only(struct qmp_server *s, int fd, struct merr *err);

/* Close the listening socket FD. Its sessions go on. */
void qmp_server_unlisten(struct qmp_server *s, int fd);

/* Serve one connected socket (taken over), e.g. in tests. */
int qmp_server_add_session(struct qmp_server *s, int fd, const char *guest, struct merr *err);

/*
 * Stop listening for, and close, the sessions that are bound to GUEST: it is gone. What was sent
 * before is still delivered.
 */
void qmp_server_close_guest(struct qmp_server *s, const char *guest);
/* The same for its sessions alone: whoever connects from now on is served. */
void qmp_server_close_sessions(struct qmp_server *s, const char *guest);

/*
 * Send an event to every session that finished negotiation and is bound to GUEST or to none. DATA
 * is borrowed; NULL: no data.
 */
void qmp_server_event(struct qmp_server *s, const char *name, const char *guest, json_t *data);

/* From now on, also for sessions that are open; none is closed for there being too many. */
void qmp_server_set_limits(struct qmp_server *s, const struct qmp_server_limits *limits);

/* What the `rights` of the options say may have changed: ask for every session. */
void qmp_server_review_rights(struct qmp_server *s);

/* Clients that are connected; and those that were cut off for they did not read, or refused for there were too many. */
unsigned int qmp_server_n_sessions(const struct qmp_server *s);
uint64_t qmp_server_n_dropped(const struct qmp_server *s);

/* For handlers. */
void *qmp_call_opaque(const struct qmp_call *call);
/* The guest a session is bound to, or NULL. */
const char *qmp_call_session_guest(const struct qmp_call *call);
/* The first descriptor sent with the request, or -1; the caller owns it. */
int qmp_call_take_fd(struct qmp_call *call);
/*
 * Descriptors with a name, of the call's session; closed with it. qmp_call_name_fd() takes FD over, and replaces one of that
 * name; -E2BIG, -ENOMEM with ERR. qmp_call_take_named_fd(): the caller owns it; -ENOENT.
 */
int qmp_call_name_fd(struct qmp_call *call, const char *name, int fd, struct merr *err);
int qmp_call_take_named_fd(struct qmp_call *call, const char *name);
/*
 * Whether the call's client may do what takes ACCESS, beyond its command's own class: -EPERM with ERR, which says who the
 * client is and how it can be allowed to. For commands whose arguments decide, or that carry out other commands.
 */
int qmp_call_may(const struct qmp_call *call, enum qmp_access access, struct merr *err);
/*
 * Run the command NAME with ARGUMENTS (taken over) as OUTER's client would, with the same checks and what the same client may
 * do; its answer goes to FN instead of the client: {"return": ...} or {"error": {"class", "desc"}}, borrowed. FN is called
 * exactly once, before this returns or at any later time; the caller answers OUTER only after that.
 */
typedef void (*qmp_inner_fn)(void *opaque, json_t *answer);
void qmp_call_inner(struct qmp_call *outer, const char *name, json_t *arguments, qmp_inner_fn fn, void *opaque);
/* Answer {"return": VALUE}; takes over VALUE; NULL: {}. */
void qmp_return(struct qmp_call *call, json_t *value);
/* Answer an error; ERR's class and text. */
void qmp_fail(struct qmp_call *call, const struct merr *err);
/* Answer a command that returns nothing: ERR if R is negative, else {}. */
void qmp_answer(struct qmp_call *call, int r, const struct merr *err);

#endif
