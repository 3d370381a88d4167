/* SPDX-License-Identifier: Apache-2.0 */
/* Sending memory without copying it. */
#include "transport/zero-copy.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/bytes.h"

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
		return merr_set(err, -EOPNOTSUPP,
				"zero-copy-send: this socket does not have the kernel's feature (SO_ZEROCOPY): use tcp, or turn "
				"'zero-copy-send' off");
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

int zero_copy_reap(struct zero_copy *z)
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

ssize_t zero_copy_send(struct zero_copy *z, const struct iovec *iov, size_t n, bool refer)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n };
	ssize_t done;
	int r = zero_copy_reap(z);

	if (r < 0)
		return r;
	if (refer && !z->off) {
		done = sendmsg(z->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_ZEROCOPY);
		if (done >= 0)
			z->n_sent++;
		/* ENOBUFS: too much is locked, or too many reports are outstanding. */
		if (done >= 0 || errno != ENOBUFS)
			return done < 0 ? -errno : done;
	}
	done = sendmsg(z->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (refer && done >= 0)
		z->n_copied++;
	return done < 0 ? -errno : done;
}

bool zero_copy_end_round(struct zero_copy *z)
{
	bool missed;

	(void)zero_copy_reap(z);
	missed = z->n_copied > 0 && z->n_referred == 0;
	z->off |= missed;
	z->n_copied = z->n_referred = 0;
	return missed;
}
