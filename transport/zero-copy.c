/* SPDX-License-Identifier: Apache-2.0 */
/* Sending memory without copying it. */
#include "transport/zero-copy.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/iov.h"

/* More than this in one sendmsg() gains nothing and would make cancelling slow. */
#define IOV_PER_CALL 1024

/* Fits what the kernel adds to a report. */
#define CONTROL_LEN 256

static int check_limit(unsigned int n_sockets, struct merr *err)
{
	uint64_t need = (uint64_t)ZERO_COPY_LOCKED_MIN * n_sockets;
	struct rlimit lim;

	if (getrlimit(RLIMIT_MEMLOCK, &lim) < 0)
		return merr_set_errno(err, -errno, "zero-copy-send: RLIMIT_MEMLOCK");
	if (lim.rlim_cur == RLIM_INFINITY || lim.rlim_cur >= need)
		return 0;
	return merr_set(err, -EPERM,
			"zero-copy-send locks memory that is being sent: %llu KiB for %u channels, and RLIMIT_MEMLOCK "
			"allows %llu KiB; raise it (systemd: LimitMEMLOCK=, shell: ulimit -l) or turn 'zero-copy-send' off",
			(unsigned long long)(need / KIB), n_sockets, (unsigned long long)(lim.rlim_cur / KIB));
}

int zero_copy_init(struct zero_copy *z, int fd, unsigned int n_sockets, struct merr *err)
{
	int on = 1, r;

	r = check_limit(n_sockets, err);
	if (r < 0)
		return r;
	if (setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)) < 0)
		return merr_set_errno(err, -EOPNOTSUPP,
				      "zero-copy-send: this socket does not have the kernel's feature (SO_ZEROCOPY): use "
				      "tcp, or turn 'zero-copy-send' off");
	*z = (struct zero_copy){ .fd = fd };
	return 0;
}

/* A report stands for calls first..last, counted modulo 2^32. */
static void take_report(struct zero_copy *z, const struct sock_extended_err *e)
{
	uint64_t n = (uint64_t)(e->ee_data - e->ee_info) + 1;

	if (e->ee_origin != SO_EE_ORIGIN_ZEROCOPY || e->ee_errno != 0)
		return;
	z->n_reported += n;
	if (e->ee_code & SO_EE_CODE_ZEROCOPY_COPIED)
		z->n_copied += n;
	else
		z->n_referred += n;
}

static bool is_report(const struct cmsghdr *c)
{
	return c->cmsg_len >= CMSG_LEN(sizeof(struct sock_extended_err)) &&
	       ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
		(c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR));
}

/* Take what the kernel has reported by now. */
static int reap(struct zero_copy *z)
{
	_Alignas(struct cmsghdr) uint8_t control[CONTROL_LEN];
	struct sock_extended_err e;

	while (z->n_reported < z->n_sent) {
		struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };

		if (recvmsg(z->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? 0 : -errno;
		}
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			if (!is_report(c))
				continue;
			memcpy(&e, CMSG_DATA(c), sizeof(e));
			take_report(z, &e);
		}
	}
	return 0;
}

/* -ENOBUFS: too much is locked, or too many reports are outstanding. */
static ssize_t send_some(struct zero_copy *z, struct iovec *iov, size_t n, bool refer)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n < IOV_PER_CALL ? n : IOV_PER_CALL };
	ssize_t done;

	if (refer && !z->off) {
		done = sendmsg(z->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_ZEROCOPY);
		if (done >= 0)
			z->n_sent++;
		if (done >= 0 || errno != ENOBUFS)
			return done;
	}
	done = sendmsg(z->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (refer && done >= 0)
		z->n_copied++;
	return done;
}

/* A connection that is broken reports no more. */
static int broken(const struct zero_copy *z)
{
	socklen_t len = sizeof(int);
	int e = 0;

	if (getsockopt(z->fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
		return -errno;
	return e ? -e : -EPIPE;
}

int zero_copy_write(struct zero_copy *z, struct iovec *iov, size_t n, bool refer, int cancel_fd,
		    uint64_t deadline_ns)
{
	ssize_t done;
	int r;

	iov_advance(&iov, &n, 0);
	while (n > 0) {
		r = reap(z);
		if (r < 0)
			return r;
		done = send_some(z, iov, n, refer);
		if (done >= 0) {
			iov_advance(&iov, &n, (size_t)done);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = fd_wait(z->fd, POLLOUT, cancel_fd, deadline_ns);
		if (r < 0)
			return r;
	}
	return 0;
}

int zero_copy_wait(struct zero_copy *z, int cancel_fd, uint64_t deadline_ns)
{
	uint64_t n_reported;
	int r = reap(z);

	while (r == 0 && z->n_reported < z->n_sent) {
		r = fd_wait(z->fd, 0, cancel_fd, deadline_ns);
		if (r < 0)
			break;
		n_reported = z->n_reported;
		r = reap(z);
		if (r == 0 && z->n_reported == n_reported)
			r = broken(z);
	}
	return r;
}

bool zero_copy_round_missed(struct zero_copy *z)
{
	bool missed = z->n_copied > 0 && z->n_referred == 0;

	z->off |= missed;
	z->n_copied = z->n_referred = 0;
	return missed;
}
