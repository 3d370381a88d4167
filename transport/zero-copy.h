/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending memory on a TCP socket without copying it (the kernel's Documentation/networking/msg_zerocopy.rst).
 *
 * What is sent so is read when it leaves, which may be after the write returned: then the bytes go as they are at that time,
 * and may go otherwise once more if the segment is lost. That is right for guest memory, where a page that is written to is
 * sent again; memory that is used anew must not be sent so. It may be unmapped at once: the kernel holds the pages, not the
 * mapping.
 *
 * Where a copy cannot be avoided (loopback, a device without scatter-gather, a packet capture) the kernel makes one and says
 * so. That costs more than an ordinary write, so that after a round of nothing else ordinary writes follow.
 *
 * All writes to a socket go by its zero_copy: what the kernel reports is waiting at the socket as an error, and who polls
 * without taking it does not wait. Nothing here waits. One thread. Who uses a socket as a channel has transport/chan.h.
 */
#ifndef MIGD_TRANSPORT_ZERO_COPY_H
#define MIGD_TRANSPORT_ZERO_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

/* What one socket has to lock at least for this to be of use. */
#define ZERO_COPY_LOCKED_MIN (512U * 1024)

struct zero_copy {
	int fd;			/* borrowed */
	bool off;		/* it was of no use: ordinary writes only */
	uint64_t n_sent;	/* writes by reference; the kernel reports each */
	uint64_t n_reported;
	/* In this round: */
	uint64_t n_referred;	/* writes that needed no copy */
	uint64_t n_copied;	/* that should have been by reference */
};

/*
 * For FD, one of N_SOCKETS of this process that are to send so at the same time. -EOPNOTSUPP: this kind of socket cannot;
 * -EPERM: RLIMIT_MEMLOCK is less than ZERO_COPY_LOCKED_MIN for each. ERR says what to do.
 */
int zero_copy_init(struct zero_copy *z, int fd, unsigned int n_sockets, struct merr *err);

/*
 * sendmsg() of the N buffers, by reference, or, not REFER, copied; what cannot be locked just now is copied. How many bytes,
 * or -errno; -EAGAIN: there is no room.
 */
ssize_t zero_copy_send(struct zero_copy *z, const struct iovec *iov, size_t n, bool refer);

/* Take what the kernel has reported by now: sending and the end of a round do it, too. 0 or -errno. */
int zero_copy_reap(struct zero_copy *z);

/* A round ends: true if nothing that was to go by reference went so, as far as is known by now. */
bool zero_copy_end_round(struct zero_copy *z);

#endif
