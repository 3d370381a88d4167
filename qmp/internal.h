/* SPDX-License-Identifier: Apache-2.0 */
/* What the server's files share: server, session, call. */
#ifndef MIGD_QMP_INTERNAL_H
#define MIGD_QMP_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "qmp/fd-queue.h"
#include "qmp/named-fd.h"
#include "qmp/parser.h"
#include "qmp/rate.h"
#include "qmp/server.h"

struct qmp_session;

/* One request: queued, running, or being answered. */
struct qmp_call {
	TAILQ_ENTRY(qmp_call) entry;	/* in its session's queue */
	struct qmp_session *session;	/* holds a reference */
	json_t *request;	/* NULL: `err` is all there is */
	json_t *id;	/* or NULL; in `request` */
	struct merr err;	/* what is wrong with the request itself */
	struct fd_batch fds;
	bool oob;
	size_t bytes;	/* of its text */
	const char *verb;	/* in `request`; NULL after `err` */
	json_t *arguments;	/* in `request`, or NULL */
	const struct qmp_command *command;	/* what is run; NULL: nothing yet */
	uint64_t begun_ns;
	qmp_inner_fn inner_fn;	/* inner-call.c: gets the answer; NULL: the client gets it */
	void *inner_opaque;
};

struct qmp_session {
	TAILQ_ENTRY(qmp_session) entry;	/* in its server's list, which holds a reference */
	struct qmp_server *server;	/* holds a reference; freed but for itself once the session is closed by it */
	void *opaque;	/* the server's */
	unsigned int refs;
	char *guest;	/* bound to it; or NULL */
	bool read_only;
	uint64_t number;
	struct qmp_peer peer;
	unsigned int rights;	/* QMP_ACCESS_BIT()s */
	int fd;		/* -1 once closed */
	struct event *readable, *writable;
	struct event *rested;	/* timer: it may send again, after it had sent too many commands a second */

	TAILQ_ENTRY(qmp_session) ready_entry;	/* in its server's queue, while `ready`: there may be something to do */
	bool ready;
	bool in_turn;	/* qmp_session_take_turn() */

	struct qmp_parser parser;
	const uint8_t *in;	/* [in_at, in_len) was not looked at yet: in the server's buffer during a turn, else in `kept` */
	size_t in_at, in_len;
	uint8_t *kept;	/* NULL: all was looked at */
	uint64_t position;	/* in the stream, of in[in_at] */
	bool eof;
	struct rate rate;
	struct fd_queue fds;
	struct fd_batch unclaimed;	/* came with a command that did not want them */
	struct named_fds named_fds;

	TAILQ_HEAD(, qmp_call) queue;	/* in-band, in order */
	unsigned int n_queued;
	size_t queued_bytes;	/* the text of `queue`, and of what runs */
	uint64_t value_at;	/* position, of what follows the last request */
	size_t held_bytes;	/* held.c */
	struct qmp_call *running;	/* in-band */
	unsigned int n_oob;	/* out-of-band calls not answered yet */

	struct buf out;	/* [out_at, len) is unsent */
	size_t out_at;
	bool blocked;	/* the socket takes no more; `writable` says when it does */

	bool negotiated;
	bool oob;	/* enabled */
	bool closing;	/* close once `out` is empty */
};

struct qmp_listener {
	TAILQ_ENTRY(qmp_listener) entry;
	struct qmp_server *server;
	int fd;
	char *guest;
	bool read_only;
	struct event *acceptable;
	struct event *retry;	/* after accept() failed for want of something */
};

struct qmp_server {
	unsigned int refs;	/* the owner's, and one a session */
	uint64_t last_number;	/* of a session */
	struct qmp_server_options options;
	TAILQ_HEAD(, qmp_session) sessions;
	TAILQ_HEAD(, qmp_session) ready;	/* each takes its turn, then goes to the end */
	struct event *turns;	/* due while `ready` has some */
	TAILQ_HEAD(, qmp_listener) listeners;
	unsigned int n_sessions;
	uint64_t n_dropped;
	struct qmp_parser_limits parser_limits;
	size_t held_bytes;	/* by all sessions */
	const struct qmp_command **by_name;	/* sorted; those of qmp_builtin_commands too */
	size_t n_commands;
	struct rate urgent;	/* reads that came before everything else */
	uint8_t in[QMP_READ_BYTES];	/* of the session that is being read */
};

/* server.c: the memory of S goes with its last reference. */
void qmp_server_unref(struct qmp_server *s);

/*
 * session.c. A session that is used after a call of these may be closed (fd is -1); a reference
 * keeps it.
 */
int qmp_session_new(struct qmp_server *server, int fd, const char *guest, bool read_only, struct merr *err);
void qmp_session_close(struct qmp_session *s);
/* The same, noted in the log, for one that goes too far. */
void qmp_session_drop(struct qmp_session *s, const char *why);
void qmp_session_unref(struct qmp_session *s);
/* -EPERM with ERR, if its client may not use ACCESS. */
int qmp_session_may(const struct qmp_session *s, enum qmp_access access, struct merr *err);
void qmp_session_review_rights(struct qmp_session *s);

/* out.c: one object as a line, or a line that is written already, which drops a session that does not read. */
void qmp_session_send(struct qmp_session *s, const json_t *object);
void qmp_session_send_line(struct qmp_session *s, const void *line, size_t len);
/* Send what can be sent now. */
void qmp_session_flush(struct qmp_session *s);
/* The same for a session that is being closed. */
void qmp_session_send_last(struct qmp_session *s);
static inline size_t qmp_session_unsent(const struct qmp_session *s)
{
	return s->out.len - s->out_at;
}

/* held.c: whether S is to be dropped for what all sessions hold. */
bool qmp_session_holds_too_much(struct qmp_session *s);
void qmp_session_forget_held(struct qmp_session *s);

/* turn.c: what a session does next. */
void qmp_session_take_turn(struct qmp_session *s);
/* Look again, in its turn, whether there is something to do or to send. */
void qmp_session_wake(struct qmp_session *s);
/* Give some of the sessions that are ready a turn each. */
void qmp_server_take_turns(struct qmp_server *s);
void qmp_session_forget_input(struct qmp_session *s);

/* call.c */
struct qmp_call *qmp_call_new(struct qmp_session *s, json_t *request, const struct merr *err);
struct qmp_call *qmp_call_free(struct qmp_call *call);
/* Find the command and run it, or answer what is wrong. */
void qmp_call_run(struct qmp_call *call);

/* inner-call.c: hand ANSWER (NULL: no memory for it) over to CALL's function, and free CALL. */
void qmp_inner_answer(struct qmp_call *call, json_t *answer);

/* answer.c: objects for the wire; new references, NULL without memory. */
json_t *qmp_greeting(const struct qmp_server_options *options);
json_t *qmp_error_object(const struct merr *err);
const char *qmp_error_class_name(enum merr_class class);
json_t *qmp_event_object(const char *name, json_t *data);
/* {"qemu": {...}, "package": ...} */
json_t *qmp_version(const struct qmp_server_options *options);

#endif
