/* SPDX-License-Identifier: Apache-2.0 */
/* A channel over a stream socket, plain or with TLS, a pipe, or a file. */
#include "transport/chan.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/iov.h"
#include "base/writeback.h"
#include "transport/tls-session.h"
#include "transport/zero-copy.h"

/*
 * Size asked for the splice pipe. 1 MiB is the most the kernel gives to the unprivileged by default; measured, 256 KiB is
 * about a tenth slower and more than 1 MiB no faster.
 */
#define PIPE_BYTES (1024 * 1024)

/* More than this in one sendmsg() gains nothing and would make cancelling slow. */
#define IOV_PER_CALL 1024

enum kind {
	KIND_SOCKET = 1,
	KIND_PIPE,	/* or whatever else has no place to return to */
	KIND_FILE,
};

struct chan {
	int fd;
	enum kind kind;
	uint8_t head[CHAN_HEAD_LEN];	/* KIND_FILE: what chan_commit() puts at `start` */
	size_t head_len;		/* of it, as many as were written by now */
	off_t start;
	struct writeback writeback;	/* KIND_FILE */
	_Atomic int cancel_fd;
	int pipe_rd, pipe_wr;	/* -1 until the first splice */
	size_t in_pipe;		/* bytes a cut-off splice left there */
	struct tls_session *tls;	/* NULL: plain */
	bool is_client;			/* of TLS */
	struct zero_copy *zero_copy;	/* NULL: all writes copy */
	pthread_mutex_t write_lock;
};

/* A file that is only appended to cannot be completed at its head. */
static enum kind kind_of(int fd)
{
	struct stat st;
	int flags;

	if (fstat(fd, &st) < 0 || S_ISSOCK(st.st_mode))
		return KIND_SOCKET;
	flags = fcntl(fd, F_GETFL);
	return S_ISREG(st.st_mode) && flags >= 0 && !(flags & O_APPEND) ? KIND_FILE : KIND_PIPE;
}

struct chan *chan_new(int fd, int cancel_fd)
{
	struct chan *c = calloc(1, sizeof(*c));

	if (!c || fd_set_nonblock(fd, true) < 0) {
		free(c);
		(void)close_fd(fd);
		return NULL;
	}
	*c = (struct chan){ .fd = fd,
			    .kind = kind_of(fd),
			    .cancel_fd = cancel_fd,
			    .pipe_rd = -1,
			    .pipe_wr = -1 };
	(void)pthread_mutex_init(&c->write_lock, NULL);
	if (c->kind == KIND_FILE)
		c->start = lseek(fd, 0, SEEK_CUR);
	return c;
}

struct chan *chan_free(struct chan *c)
{
	if (!c)
		return NULL;
	/* A server says nothing unasked: the client may have gone, and a reset in answer destroys what it sent last. */
	if (c->tls && c->is_client)
		tls_session_close(c->tls);
	(void)tls_session_free(c->tls);
	free(c->zero_copy);
	(void)close_fd(c->pipe_rd);
	(void)close_fd(c->pipe_wr);
	(void)close_fd(c->fd);
	(void)pthread_mutex_destroy(&c->write_lock);
	free(c);
	return NULL;
}

int chan_fd(const struct chan *c)
{
	return c->fd;
}

void chan_watch_peer(struct chan *c, unsigned int ms)
{
	const struct {
		int level, option;
		unsigned int value;
	} details[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, ms / 3000 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, ms / 3000 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 2 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, ms },
	};

	/* What is no TCP knows none of it. */
	for (size_t i = 0; i < ARRAY_SIZE(details); i++)
		(void)setsockopt(c->fd, details[i].level, details[i].option, &details[i].value, sizeof(details[i].value));
}

void chan_set_cancel(struct chan *c, int cancel_fd)
{
	c->cancel_fd = cancel_fd;
}

int chan_start_tls(struct chan *c, struct tls *tls, uint64_t deadline_ns, struct merr *err)
{
	if (c->kind != KIND_SOCKET)
		return merr_set(err, -ENOTSOCK, "TLS needs a socket, not a file or a pipe");
	c->tls = tls_session_new(tls, c->fd, deadline_ns, err);
	c->is_client = !tls_is_server(tls);
	return c->tls ? 0 : -ENOMEM;
}

int chan_handshake(struct chan *c, short *ret_events, struct merr *err)
{
	return c->tls ? tls_session_handshake(c->tls, ret_events, err) : 0;
}

ssize_t chan_peek(struct chan *c, void *buf, size_t len)
{
	ssize_t n;

	if (c->tls)
		return tls_session_peek(c->tls, buf, len);
	do {
		n = recv(c->fd, buf, len, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static bool cancelled(const struct chan *c)
{
	struct pollfd p = { .fd = c->cancel_fd, .events = POLLIN };

	return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

/* The first bytes of a file's stream are kept, and zeros written in their place. */
static int keep_head(struct chan *c, struct iovec **iov, size_t *n)
{
	static const uint8_t zeros[CHAN_HEAD_LEN];
	ssize_t done;
	size_t len;

	while (*n > 0 && c->head_len < CHAN_HEAD_LEN) {
		len = CHAN_HEAD_LEN - c->head_len;
		if (len > (*iov)->iov_len)
			len = (*iov)->iov_len;
		done = write(c->fd, zeros, len);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		memcpy(c->head + c->head_len, (*iov)->iov_base, (size_t)done);
		c->head_len += (size_t)done;
		iov_advance(iov, n, (size_t)done);
	}
	return 0;
}

/* Keep the final fsync short: the guest may be waiting for it. */
static int wrote_file(struct chan *c, size_t len)
{
	off_t end = lseek(c->fd, 0, SEEK_CUR);

	return end < 0 ? -errno : writeback_wrote(&c->writeback, c->fd, (uint64_t)end - len, len);
}

/* How much of IOV is dealt with, or -errno. */
static ssize_t write_some(struct chan *c, struct iovec *iov, size_t n, bool refer)
{
	size_t n_now = n < IOV_PER_CALL ? n : IOV_PER_CALL;
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n_now };
	ssize_t done;

	if (c->tls)
		return tls_session_write(c->tls, iov, n_now);
	if (c->zero_copy)
		return zero_copy_send(c->zero_copy, iov, n_now, refer);
	if (c->kind == KIND_SOCKET)
		done = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	else
		done = writev(c->fd, iov, (int)n_now);
	return done < 0 ? -errno : done;
}

/*
 * The socket has no room. 0: it has; -EAGAIN: there is something to read first. What shows on a TLS socket may be nothing
 * to read yet, or only TLS's own.
 */
static int await_room(struct chan *c, bool mind_input, uint64_t deadline_ns)
{
	int r;

	if (mind_input && c->tls && chan_readable(c))
		return -EAGAIN;
	r = fd_wait(c->fd, mind_input ? POLLOUT | POLLIN : POLLOUT, c->cancel_fd, deadline_ns);
	if (r < 0)
		return r;
	return mind_input && (r & POLLIN) && !(r & POLLOUT) && chan_readable(c) ? -EAGAIN : 0;
}

static int write_all(struct chan *c, struct iovec *iov, size_t n, bool refer, bool mind_input, uint64_t deadline_ns)
{
	LOCK_SCOPE(&c->write_lock);
	ssize_t done;
	int r;

	iov_advance(&iov, &n, 0);
	if (c->kind == KIND_FILE) {
		r = FAULT_FAILS("file.write");
		if (r == 0)
			r = keep_head(c, &iov, &n);
		if (r < 0)
			return r;
	}
	while (n > 0 || (c->tls && tls_session_pending(c->tls))) {
		if (cancelled(c))
			return -ECANCELED;
		done = write_some(c, iov, n, refer);
		if (done >= 0) {
			iov_advance(&iov, &n, (size_t)done);
			r = c->kind == KIND_FILE ? wrote_file(c, (size_t)done) : 0;
			if (r < 0)
				return r;
			continue;
		}
		if (done == -EINTR)
			continue;
		if (done != -EAGAIN)
			return (int)done;
		r = await_room(c, mind_input, deadline_ns);
		if (r < 0)
			return r;
	}
	return 0;
}

int chan_write(struct chan *c, struct iovec *iov, size_t n, bool mind_input, uint64_t deadline_ns)
{
	return write_all(c, iov, n, false, mind_input, deadline_ns);
}

int chan_write_by_reference(struct chan *c, struct iovec *iov, size_t n, uint64_t deadline_ns)
{
	return write_all(c, iov, n, true, false, deadline_ns);
}

int chan_use_zero_copy(struct chan *c, unsigned int n_sockets, struct merr *err)
{
	struct zero_copy *z;
	int r;

	if (c->tls)
		return merr_set(err, -EOPNOTSUPP, "zero-copy-send is not possible with TLS, which copies: turn one of them off");
	z = calloc(1, sizeof(*z));
	r = z ? zero_copy_init(z, c->fd, n_sockets, err) : merr_set(err, -ENOMEM, "zero-copy-send: out of memory");
	if (r < 0) {
		free(z);
		return r;
	}
	c->zero_copy = z;
	return 0;
}

bool chan_end_zero_copy_round(struct chan *c)
{
	return c->zero_copy && zero_copy_end_round(c->zero_copy);
}

static ssize_t read_some(struct chan *c, void *buf, size_t len)
{
	ssize_t done = c->kind == KIND_FILE ? FAULT_FAILS("file.read") : 0;

	if (done < 0)
		return done;
	if (c->tls)
		return tls_session_read(c->tls, buf, len);
	done = c->kind == KIND_SOCKET ? recv(c->fd, buf, len, MSG_DONTWAIT) : read(c->fd, buf, len);
	return done < 0 ? -errno : done;
}

ssize_t chan_read(struct chan *c, void *buf, size_t len, uint64_t deadline_ns)
{
	ssize_t done;
	int r;

	for (;;) {
		done = read_some(c, buf, len);
		if (done == -EINTR)
			continue;
		if (done != -EAGAIN)
			return done;
		r = fd_wait(c->fd, POLLIN, c->cancel_fd, deadline_ns);
		if (r < 0)
			return r;
	}
}

bool chan_readable(struct chan *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	uint8_t next;

	if (c->tls)
		return tls_session_peek(c->tls, &next, 1) != -EAGAIN;
	return poll(&p, 1, 0) > 0;
}

bool chan_peer_is_known(const struct chan *c)
{
	return c->tls && tls_session_peer_is_known(c->tls);
}

const char *chan_why(const struct chan *c)
{
	return c->tls ? tls_session_why(c->tls) : NULL;
}

int chan_fail(const struct chan *c, int r, const char *what, struct merr *err)
{
	const char *why = chan_why(c);

	return why ? merr_set(err, r, "%s: %s", what, why) : merr_set_errno(err, r, "%s", what);
}

const char *chan_describe(const struct chan *c, char *buf, size_t len)
{
	buf[0] = '\0';
	return c->tls && tls_session_established(c->tls) ? tls_session_describe(c->tls, buf, len) : buf;
}

static int open_pipe(struct chan *c)
{
	int fds[2];

	if (c->pipe_rd >= 0)
		return 0;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	/* A smaller pipe works as well, only slower. */
	(void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	c->pipe_rd = fds[0];
	c->pipe_wr = fds[1];
	return 0;
}

/* Empty the pipe into FD. */
static int drain_pipe(struct chan *c, int fd, loff_t *offset)
{
	ssize_t done;

	while (c->in_pipe > 0) {
		done = splice(c->pipe_rd, NULL, fd, offset, c->in_pipe, SPLICE_F_MOVE);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -EIO;
		c->in_pipe -= (size_t)done;
	}
	return 0;
}

int chan_read_to_file(struct chan *c, int fd, uint64_t offset, uint64_t len, uint64_t deadline_ns, uint64_t *ret_done)
{
	loff_t at = (loff_t)offset;
	ssize_t done;
	int r;

	*ret_done = 0;
	r = c->tls ? -ENOTSUP : open_pipe(c);
	if (r < 0)
		return -ENOTSUP;
	while (len > 0) {
		done = splice(c->fd, NULL, c->pipe_wr, NULL, len < PIPE_BYTES ? len : PIPE_BYTES,
			      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (done == 0)
			return -ENODATA;
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN) {
			r = fd_wait(c->fd, POLLIN, c->cancel_fd, deadline_ns);
			if (r < 0)
				return r;
			continue;
		}
		if (done < 0)
			return -errno;
		c->in_pipe = (size_t)done;
		len -= (uint64_t)done;
		r = drain_pipe(c, fd, &at);
		if (r < 0)
			return r;
		*ret_done += (uint64_t)done;
	}
	return 0;
}

bool chan_is_lost(int r)
{
	static const int lost[] = { ENODATA, EPIPE, ECONNRESET, ECONNABORTED, ENETRESET, ETIMEDOUT, EHOSTUNREACH, EHOSTDOWN,
				    ENETUNREACH, ENETDOWN };

	for (size_t i = 0; i < ARRAY_SIZE(lost); i++)
		if (r == -lost[i])
			return true;
	return false;
}

int64_t chan_tell(const struct chan *c)
{
	off_t at = c->kind == KIND_FILE ? lseek(c->fd, 0, SEEK_CUR) : -1;

	return at < 0 ? -ESPIPE : at;
}

int chan_seek(struct chan *c, uint64_t offset)
{
	if (c->kind != KIND_FILE || offset > INT64_MAX)
		return -ESPIPE;
	return lseek(c->fd, (off_t)offset, SEEK_SET) < 0 ? -errno : 0;
}

static int commit_file(struct chan *c)
{
	int r = FAULT_FAILS("file.sync");
	ssize_t done;

	if (c->start < 0 || r < 0)
		return r < 0 ? r : -ESPIPE;
	/* What follows the head first: a crash in between leaves a file that nobody takes for a stream. */
	if (fdatasync(c->fd) < 0)
		return -errno;
	FAULT_POINT("file.synced");
	done = pwrite(c->fd, c->head, c->head_len, c->start);
	if (done < 0)
		return -errno;
	if ((size_t)done != c->head_len)
		return -EIO;
	return fsync(c->fd) < 0 ? -errno : 0;
}

int chan_commit(struct chan *c)
{
	switch (c->kind) {
	case KIND_FILE:
		return commit_file(c);
	case KIND_PIPE:
		c->fd = close_fd(c->fd);
		return 0;
	default:
		return 0;
	}
}

void chan_shutdown_write(struct chan *c)
{
	if (c->tls)
		tls_session_close(c->tls);
	if (c->kind == KIND_SOCKET)
		(void)shutdown(c->fd, SHUT_WR);
}
