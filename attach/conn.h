/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of an attach connection: headers, sequence numbers, descriptors. Used by the library, the
 * worker, the daemon (control connections and, with other message types, the worker link).
 *
 * A conn is used by one thread at a time. It does not wait in send and recv, but for one case: conn_call() does,
 * for those who may. Every byte from the other side is checked here or in the codec; a message that breaks the rules
 * (magic, lengths, MSG_CTRUNC, more descriptors than announced) is -EBADMSG and the caller closes.
 */
#ifndef MIGD_ATTACH_CONN_H
#define MIGD_ATTACH_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attach/proto.h"
#include "base/bytes.h"
#include "base/err.h"

struct conn;

/* A received message. `body` borrows the conn's buffer until the next conn_recv() or conn_call(). */
struct conn_msg {
	uint16_t type;
	uint16_t flags;
	uint32_t seq;
	uint32_t reply_to;	/* 0: a request or an event */
	uint32_t epoch;
	int32_t error;		/* enum attach_error; replies only */
	struct rcur body;
	int fds[ATTACH_FDS_MAX];	/* -1 where taken; the rest is closed by conn_msg_done() */
	size_t n_fds;
};

/* Take over FD (a SOCK_SEQPACKET socket; made non-blocking). NULL: out of memory, FD is closed. */
struct conn *conn_new(int fd);
struct conn *conn_free(struct conn *c);		/* returns NULL */
int conn_fd(const struct conn *c);		/* to poll; owned by the conn */
void conn_set_epoch(struct conn *c, uint32_t epoch);

/* The other process, by SO_PEERCRED. 0 or -errno. */
int conn_peer(const struct conn *c, int *ret_pid, unsigned int *ret_uid, unsigned int *ret_gid);

/*
 * Send a request or event of TYPE with an encoded BODY (LEN bytes, at most ATTACH_BODY_MAX) and N_FDS
 * descriptors (borrowed). *ret_seq may be NULL. -EAGAIN: the other side does not read; -EPIPE:
 * gone; -EMSGSIZE; -ETOOMANYREFS: for half a second, which this waited, processes of this user had more
 * descriptors on their way than this one may open (unix(7)).
 */
int conn_send(struct conn *c, uint16_t type, const void *body, size_t len, const int *fds, size_t n_fds,
	      uint32_t *ret_seq);

/* Reply to REQUEST with a body, or with an error and its text. */
int conn_reply(struct conn *c, const struct conn_msg *request, const void *body, size_t len, const int *fds,
	       size_t n_fds);
int conn_reply_error(struct conn *c, const struct conn_msg *request, const struct merr *err);
/* The same for a request that is not at hand any more. */
int conn_reply_to(struct conn *c, uint16_t type, uint32_t seq, const void *body, size_t len);
int conn_reply_error_to(struct conn *c, uint16_t type, uint32_t seq, const struct merr *err);

/*
 * Receive one message. 1: *ret is set, the caller calls conn_msg_done(); 0: none yet; -ENOTCONN: the
 * other side is gone; -EBADMSG with ERR.
 */
int conn_recv(struct conn *c, struct conn_msg *ret, struct merr *err);
void conn_msg_done(struct conn_msg *m);

/* Take descriptor I out of M (the caller owns it), or -1. */
int conn_msg_take_fd(struct conn_msg *m, size_t i);

/* Messages that arrive while conn_call() waits for its reply (events). The handler does not free M. */
typedef void (*conn_event_fn)(void *opaque, struct conn_msg *m);
void conn_on_event(struct conn *c, conn_event_fn fn, void *opaque);

/*
 * Send a request and wait for its reply, at most until DEADLINE_NS (monotonic) and unless CANCEL_FD (-1: none)
 * becomes readable. 0: *ret is set, call conn_msg_done(). -ETIMEDOUT, -ECANCELED, -ENOTCONN, -EBADMSG; an
 * error reply gives its errno, its text in ERR. A late reply to a call that gave up is dropped.
 */
int conn_call(struct conn *c, uint16_t type, const void *body, size_t len, const int *fds, size_t n_fds,
	      uint64_t deadline_ns, int cancel_fd, struct conn_msg *ret, struct merr *err);

/*
 * The same with typed bodies: conn_request(c, RELEASE, handover, &req, handover_reply, &rep, ...). REP may not
 * hold blobs (they would dangle): use conn_call() for those.
 */
#define CONN_REQUEST_BODY_MAX 512U
typedef int (*conn_encode_fn)(struct wcur *c, const void *v);
typedef int (*conn_decode_fn)(struct rcur *c, void *v, struct merr *err);
int conn_request_raw(struct conn *c, uint16_t type, conn_encode_fn enc, const void *req,
		     conn_decode_fn dec, void *rep, uint64_t deadline_ns, int cancel_fd,
		     struct merr *err);
#define conn_request(c, TYPE, req_body, req, rep_body, rep, deadline_ns, cancel_fd, err)           \
	({                                                                                         \
		const struct attach_##req_body *_req = (req);                                      \
		struct attach_##rep_body *_rep = (rep);                                            \
		conn_request_raw((c), ATTACH_##TYPE, (conn_encode_fn)(void *)attach_##req_body##_encode, _req, \
				 (conn_decode_fn)(void *)attach_##rep_body##_decode, _rep, (deadline_ns), \
				 (cancel_fd), (err));                                              \
	})

#endif
