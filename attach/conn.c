/* SPDX-License-Identifier: Apache-2.0 */
/* One end of an attach connection: headers, sequence numbers, descriptors, and calls that wait. */
#include "attach/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "attach/codec.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

/*
 * Calls that gave up and whose replies may still come. A conn's user waits for one call at a time,
 * so a few are many; a reply to one beyond them reaches conn_recv()'s caller, who ignores what it
 * does not know.
 */
#define GAVE_UP_MAX 16

/* A millisecond apart. */
#define CROWDED_TRIES 500U

struct conn {
	int fd;
	uint32_t epoch;
	uint32_t last_seq;
	uint32_t gave_up[GAVE_UP_MAX]; /* a ring of sequence numbers, 0: free */
	unsigned int next_gave_up;
	conn_event_fn on_event;
	void *on_event_opaque;
	uint8_t in[ATTACH_MESSAGE_MAX];
};

struct header {
	uint16_t type, flags, n_fds;
	uint32_t seq, reply_to, len, epoch;
	int32_t error;
};

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(ATTACH_FDS_MAX * sizeof(int))];
};

struct conn *conn_new(int fd)
{
	struct conn *c = malloc(sizeof(*c));

	if (!c || fd_set_nonblock(fd, true) < 0 || fd_set_cloexec(fd, true) < 0) {
		free(c);
		close_fd(fd);
		return NULL;
	}
	/* Not calloc(): the buffer's pages are only touched by messages that need them. */
	memset(c, 0, offsetof(struct conn, in));
	c->fd = fd;
	return c;
}

struct conn *conn_free(struct conn *c)
{
	if (c)
		close_fd(c->fd);
	free(c);
	return NULL;
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}

void conn_set_epoch(struct conn *c, uint32_t epoch)
{
	c->epoch = epoch;
}

void conn_on_event(struct conn *c, conn_event_fn fn, void *opaque)
{
	c->on_event = fn;
	c->on_event_opaque = opaque;
}

int conn_peer(const struct conn *c, int *ret_pid, unsigned int *ret_uid, unsigned int *ret_gid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret_pid = cred.pid;
	*ret_uid = cred.uid;
	*ret_gid = cred.gid;
	return 0;
}

/* ---- sending ---- */

static void store_header(uint8_t *p, const struct header *h)
{
	struct wcur w = wcur_of(p, ATTACH_HEADER_LEN);

	wcur_le32(&w, ATTACH_MAGIC);
	wcur_le16(&w, ATTACH_VERSION);
	wcur_le16(&w, h->type);
	wcur_le32(&w, h->seq);
	wcur_le32(&w, h->reply_to);
	wcur_le32(&w, h->len);
	wcur_le32(&w, (uint32_t)h->error);
	wcur_le16(&w, h->n_fds);
	wcur_le16(&w, h->flags);
	wcur_le32(&w, h->epoch);
}

static void attach_fds(struct msghdr *msg, union control *control, const int *fds, size_t n_fds)
{
	size_t len = n_fds * sizeof(int);
	struct cmsghdr *cmsg;

	memset(control, 0, sizeof(*control));
	msg->msg_control = control->bytes;
	msg->msg_controllen = CMSG_SPACE(len);
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(cmsg), fds, len);
}

/*
 * ETOOMANYREFS: all processes of this user together have more descriptors on their way than this one may have open (unix(7)), and a
 * sandboxed one may have few. Others are about to receive theirs.
 */
static int send_datagram(int fd, const struct msghdr *msg)
{
	for (unsigned int crowded = 0;;) {
		if (sendmsg(fd, msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		switch (errno) {
		case EINTR:
			continue;
		case ETOOMANYREFS:
			if (crowded++ == CROWDED_TRIES)
				return -ETOOMANYREFS;
			(void)fd_wait(-1, 0, -1, clock_now_ns() + NS_PER_MS);
			continue;
		case EAGAIN:
		case ENOBUFS:
			return -EAGAIN;
		case EPIPE:
		case ECONNRESET:
		case ENOTCONN:
		case ECONNREFUSED:
			return -EPIPE;
		default:
			return -errno;
		}
	}
}

/* Fill in what the conn knows of H (seq, epoch, lengths) and send it. */
static int send_message(struct conn *c, struct header *h, const void *body, size_t len,
			const int *fds, size_t n_fds)
{
	uint8_t bytes[ATTACH_HEADER_LEN];
	struct iovec iov[2] = { { bytes, sizeof(bytes) }, { (void *)(uintptr_t)body, len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };
	union control control;

	if (len > ATTACH_BODY_MAX || n_fds > ATTACH_FDS_MAX)
		return -EMSGSIZE;
	if (++c->last_seq == 0) /* 0 means "no request" in reply_to */
		c->last_seq = 1;
	h->seq = c->last_seq;
	h->epoch = c->epoch;
	h->len = (uint32_t)len;
	h->n_fds = (uint16_t)n_fds;
	store_header(bytes, h);
	if (n_fds)
		attach_fds(&msg, &control, fds, n_fds);
	return send_datagram(c->fd, &msg);
}

int conn_send(struct conn *c, uint16_t type, const void *body, size_t len, const int *fds,
	      size_t n_fds, uint32_t *ret_seq)
{
	struct header h = { .type = type };
	int r = send_message(c, &h, body, len, fds, n_fds);

	if (r >= 0 && ret_seq)
		*ret_seq = h.seq;
	return r;
}

int conn_reply(struct conn *c, const struct conn_msg *request, const void *body, size_t len,
	       const int *fds, size_t n_fds)
{
	struct header h = { .type = request->type, .reply_to = request->seq };

	return send_message(c, &h, body, len, fds, n_fds);
}

int conn_reply_to(struct conn *c, uint16_t type, uint32_t seq, const void *body, size_t len)
{
	struct header h = { .type = type, .reply_to = seq };

	return send_message(c, &h, body, len, NULL, 0);
}

int conn_reply_error_to(struct conn *c, uint16_t type, uint32_t seq, const struct merr *err)
{
	struct header h = {
		.type = type,
		.reply_to = seq,
		.error = (int32_t)attach_error_of(merr_is_set(err) ? err->code : -EIO),
	};
	const char *text = merr_msg(err);

	return send_message(c, &h, text, strlen(text), NULL, 0);
}

int conn_reply_error(struct conn *c, const struct conn_msg *request, const struct merr *err)
{
	return conn_reply_error_to(c, request->type, request->seq, err);
}

/* ---- receiving ---- */

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fds[i] = close_fd(fds[i]);
}

void conn_msg_done(struct conn_msg *m)
{
	close_all(m->fds, m->n_fds);
	m->n_fds = 0;
}

int conn_msg_take_fd(struct conn_msg *m, size_t i)
{
	return i < m->n_fds ? TAKE_FD(m->fds[i]) : -1;
}

/* Take every descriptor that came, whatever the message is worth, so that none leaks. */
static size_t collect_fds(struct msghdr *msg, int fds[ATTACH_FDS_MAX])
{
	size_t n_fds = 0, n;
	int got[ATTACH_FDS_MAX];

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		/* The control buffer has room for ATTACH_FDS_MAX in all. */
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (n > ATTACH_FDS_MAX - n_fds)
			n = ATTACH_FDS_MAX - n_fds;
		memcpy(got, CMSG_DATA(cmsg), n * sizeof(int));
		memcpy(fds + n_fds, got, n * sizeof(int));
		n_fds += n;
	}
	return n_fds;
}

static int load_header(struct rcur *c, struct header *h, struct merr *err)
{
	uint32_t magic = rcur_le32(c);
	uint16_t version = rcur_le16(c);

	h->type = rcur_le16(c);
	h->seq = rcur_le32(c);
	h->reply_to = rcur_le32(c);
	h->len = rcur_le32(c);
	h->error = (int32_t)rcur_le32(c);
	h->n_fds = rcur_le16(c);
	h->flags = rcur_le16(c);
	h->epoch = rcur_le32(c);
	if (c->bad)
		return merr_set(err, -EBADMSG, "attach header: the message is too short for one");
	if (magic != ATTACH_MAGIC)
		return merr_set(err, -EBADMSG, "attach header: field 'magic': 0x%08x", magic);
	if (version != ATTACH_VERSION)
		return merr_set(err, -EBADMSG,
				"attach header: field 'version': %u, only %u is known", version,
				ATTACH_VERSION);
	return 0;
}

static int check_header(const struct header *h, size_t body_len, size_t n_fds, struct merr *err)
{
	const char *name = attach_type_name(h->type);

	if (h->len != body_len)
		return merr_set(err, -EBADMSG,
				"attach %s: field 'length': %u, but %zu bytes follow", name, h->len,
				body_len);
	if (h->n_fds != n_fds)
		return merr_set(err, -EBADMSG,
				"attach %s: field 'nfds': %u, but %zu descriptors came", name,
				h->n_fds, n_fds);
	if (h->flags)
		return merr_set(err, -EBADMSG, "attach %s: field 'flags': 0x%04x is not known",
				name, h->flags);
	if (!h->seq)
		return merr_set(err, -EBADMSG, "attach %s: field 'seq': 0", name);
	if (h->error && !h->reply_to)
		return merr_set(err, -EBADMSG, "attach %s: an error that is no reply", name);
	return 0;
}

/* Parse the datagram of LEN bytes in c->in; RET's descriptors are set already. */
static int parse_message(struct conn *c, size_t len, int flags, struct conn_msg *ret,
			 struct merr *err)
{
	struct rcur cur = rcur_of(c->in, len);
	struct header h;

	if (flags & MSG_TRUNC)
		return merr_set(err, -EBADMSG, "attach message of more than %u bytes",
				ATTACH_MESSAGE_MAX);
	if (flags & MSG_CTRUNC)
		return merr_set(err, -EBADMSG,
				"attach message: descriptors were lost: more than %u, or no room "
				"for them here",
				ATTACH_FDS_MAX);
	if (load_header(&cur, &h, err) < 0 || check_header(&h, cur.left, ret->n_fds, err) < 0)
		return -EBADMSG;
	ret->type = h.type;
	ret->flags = h.flags;
	ret->seq = h.seq;
	ret->reply_to = h.reply_to;
	ret->epoch = h.epoch;
	ret->error = h.error;
	ret->body = cur;
	return 0;
}

/* One message, late replies included. Returns as conn_recv(). */
static int receive(struct conn *c, struct conn_msg *ret, struct merr *err)
{
	union control control;
	struct iovec iov = { c->in, sizeof(c->in) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct conn_msg m = { 0 };
	ssize_t n;
	int r;

	do
		n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		return merr_set_errno(err, -ENOTCONN, "the attach connection is gone");
	m.n_fds = collect_fds(&msg, m.fds);
	if (n == 0) { /* the end, or an empty datagram, which is no message either */
		conn_msg_done(&m);
		return merr_set(err, -ENOTCONN, "the other side closed the attach connection");
	}
	r = parse_message(c, (size_t)n, msg.msg_flags, &m, err);
	if (r < 0) {
		conn_msg_done(&m);
		return r;
	}
	*ret = m;
	return 1;
}

/* Whether REPLY_TO is a call that gave up; it is then forgotten. */
static bool take_gave_up(struct conn *c, uint32_t reply_to)
{
	if (!reply_to)
		return false;
	for (size_t i = 0; i < GAVE_UP_MAX; i++) {
		if (c->gave_up[i] == reply_to) {
			c->gave_up[i] = 0;
			return true;
		}
	}
	return false;
}

int conn_recv(struct conn *c, struct conn_msg *ret, struct merr *err)
{
	struct conn_msg m = { 0 };
	int r;

	for (;;) {
		r = receive(c, &m, err);
		if (r <= 0)
			return r;
		if (!take_gave_up(c, m.reply_to))
			break;
		conn_msg_done(&m);
	}
	*ret = m;
	return 1;
}

/* ---- calls ---- */

static void give_up(struct conn *c, uint32_t seq)
{
	c->gave_up[c->next_gave_up++ % GAVE_UP_MAX] = seq;
}

/* Send, waiting for room where the other side reads slowly. */
static int send_waiting(struct conn *c, uint16_t type, const void *body, size_t len, const int *fds,
			size_t n_fds, uint64_t deadline_ns, int cancel_fd, uint32_t *ret_seq)
{
	int r;

	for (;;) {
		r = conn_send(c, type, body, len, fds, n_fds, ret_seq);
		if (r != -EAGAIN)
			return r == -EPIPE ? -ENOTCONN : r;
		r = fd_wait(c->fd, POLLOUT, cancel_fd, deadline_ns);
		if (r < 0)
			return r;
	}
}

/* Read until the reply to SEQ; everything else goes to the event handler. */
static int wait_reply(struct conn *c, uint32_t seq, uint64_t deadline_ns, int cancel_fd,
		      struct conn_msg *ret, struct merr *err)
{
	struct conn_msg m;
	int r;

	for (;;) {
		r = conn_recv(c, &m, err);
		if (r < 0)
			return r;
		if (r > 0 && m.reply_to == seq) {
			*ret = m;
			return 0;
		}
		if (r > 0) {
			if (c->on_event)
				c->on_event(c->on_event_opaque, &m);
			conn_msg_done(&m);
			continue;
		}
		r = fd_wait(c->fd, POLLIN, cancel_fd, deadline_ns);
		if (r < 0)
			return r;
	}
}

/* The text of an error reply is the other side's: keep it on one printable line. */
static int reply_error(struct conn_msg *m, struct merr *err)
{
	char text[MERR_MSG_MAX];
	size_t len = m->body.left < sizeof(text) - 1 ? m->body.left : sizeof(text) - 1;

	memcpy(text, m->body.p, len);
	text[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	return merr_set(err, attach_error_to_errno(m->error), "%s", len ? text : "no reason given");
}

int conn_call(struct conn *c, uint16_t type, const void *body, size_t len, const int *fds,
	      size_t n_fds, uint64_t deadline_ns, int cancel_fd, struct conn_msg *ret,
	      struct merr *err)
{
	const char *name = attach_type_name(type);
	struct conn_msg m;
	uint32_t seq = 0;
	int r;

	r = send_waiting(c, type, body, len, fds, n_fds, deadline_ns, cancel_fd, &seq);
	if (r < 0)
		return merr_set_errno(err, r, "attach %s: cannot send", name);
	r = wait_reply(c, seq, deadline_ns, cancel_fd, &m, err);
	if (r == -ETIMEDOUT || r == -ECANCELED)
		give_up(c, seq);
	if (r < 0) {
		(void)merr_set_errno(err, r, "no reply");
		(void)merr_prefix(err, "attach %s", name);
		return r;
	}
	if (m.error || m.type != type) {
		r = m.error ? reply_error(&m, err)
			    : merr_set(err, -EBADMSG, "attach %s: a reply of another type, %s",
				       name, attach_type_name(m.type));
		conn_msg_done(&m);
		return r;
	}
	*ret = m;
	return 0;
}

int conn_request_raw(struct conn *c, uint16_t type, conn_encode_fn enc, const void *req,
		     conn_decode_fn dec, void *rep, uint64_t deadline_ns, int cancel_fd,
		     struct merr *err)
{
	uint8_t bytes[CONN_REQUEST_BODY_MAX];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	struct conn_msg m;
	int r;

	r = enc(&w, req);
	if (r < 0)
		return merr_set_errno(err, r, "attach %s: the request", attach_type_name(type));
	r = conn_call(c, type, bytes, w.len, NULL, 0, deadline_ns, cancel_fd, &m, err);
	if (r < 0)
		return r;
	r = dec(&m.body, rep, err);
	conn_msg_done(&m);
	return r;
}
