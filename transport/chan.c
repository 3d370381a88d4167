/* SPDX-License-Identifier: Apache-2.0 */
/* A channel over a plain stream socket. */
#include "transport/chan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

/*
 * Size asked for the splice pipe. 1 MiB is the most the kernel gives to the unprivileged by default; measured, 256 KiB is
 * about a tenth slower and more than 1 MiB no faster.
 */
#define PIPE_BYTES (1024 * 1024)

/* More than this in one sendmsg() gains nothing and would make cancelling slow. */
#define IOV_PER_CALL 1024

struct chan {
	int fd;
	int cancel_fd;
	int pipe_rd, pipe_wr;	/* -1 until the first splice */
	size_t in_pipe;		/* bytes a cut-off splice left there */
};

struct chan *chan_new(int fd, int cancel_fd)
{
	struct chan *c = calloc(1, sizeof(*c));

	if (!c || fd_set_nonblock(fd, true) < 0) {
		free(c);
		(void)close_fd(fd);
		return NULL;
	}
	*c = (struct chan){ .fd = fd, .cancel_fd = cancel_fd, .pipe_rd = -1, .pipe_wr = -1 };
	return c;
}

struct chan *chan_free(struct chan *c)
{
	if (!c)
		return NULL;
	(void)close_fd(c->pipe_rd);
	(void)close_fd(c->pipe_wr);
	(void)close_fd(c->fd);
	free(c);
	return NULL;
}

int chan_fd(const struct chan *c)
{
	return c->fd;
}

void chan_set_cancel(struct chan *c, int cancel_fd)
{
	c->cancel_fd = cancel_fd;
}

static void iov_advance(struct iovec **iov, size_t *n, size_t done)
{
	while (*n > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)->iov_len = 0;
		(*iov)++;
		(*n)--;
	}
	if (*n > 0 && done > 0) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

static bool cancelled(const struct chan *c)
{
	struct pollfd p = { .fd = c->cancel_fd, .events = POLLIN };

	return c->cancel_fd >= 0 && poll(&p, 1, 0) > 0;
}

int chan_write(struct chan *c, struct iovec *iov, size_t n, bool mind_input, uint64_t deadline_ns)
{
	struct msghdr m;
	ssize_t done;
	int r;

	iov_advance(&iov, &n, 0);
	while (n > 0) {
		if (cancelled(c))
			return -ECANCELED;
		m = (struct msghdr){ .msg_iov = iov,
				     .msg_iovlen = n < IOV_PER_CALL ? n : IOV_PER_CALL };
		done = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (done >= 0) {
			iov_advance(&iov, &n, (size_t)done);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = fd_wait(c->fd, mind_input ? POLLOUT | POLLIN : POLLOUT, c->cancel_fd,
			    deadline_ns);
		if (r < 0)
			return r;
		if (mind_input && (r & POLLIN) && !(r & POLLOUT))
			return -EAGAIN;
	}
	return 0;
}

ssize_t chan_read(struct chan *c, void *buf, size_t len, uint64_t deadline_ns)
{
	ssize_t done;
	int r;

	for (;;) {
		done = recv(c->fd, buf, len, MSG_DONTWAIT);
		if (done >= 0)
			return done;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = fd_wait(c->fd, POLLIN, c->cancel_fd, deadline_ns);
		if (r < 0)
			return r;
	}
}

bool chan_readable(const struct chan *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
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

int chan_read_to_file(struct chan *c, int fd, uint64_t offset, uint64_t len, uint64_t deadline_ns)
{
	loff_t at = (loff_t)offset;
	ssize_t done;
	int r;

	r = open_pipe(c);
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
	}
	return 0;
}

void chan_shutdown_write(struct chan *c)
{
	(void)shutdown(c->fd, SHUT_WR);
}
