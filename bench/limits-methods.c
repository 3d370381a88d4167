/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to move a memory file through a socket: how it is sent, and how it gets into fresh
 * memory. */
#include "bench/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK  (1U << 20)   /* bytes a write() or splice() asks for */
#define BUFFER (256U << 10) /* the receivers' bounce buffer: stays in the L2 cache */
#define FRAME  (8U + PAGE)
#define FRAMES (BUFFER / PAGE) /* frames in a receive buffer; 2 * FRAMES iovecs are below IOV_MAX  \
				*/

/* -errno for a system call's failure, -EPIPE for an early end of the stream. */
static int io_error(ssize_t n)
{
	return n == 0 ? -EPIPE : -errno;
}

int read_exact(int fd, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(fd, (uint8_t *)buf + done, len - done);

		if (n <= 0)
			return io_error(n);
		done += (size_t)n;
	}
	return 0;
}

static int pwrite_exact(int fd, const uint8_t *buf, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, buf + done, len - done, (off_t)(at + done));

		if (n <= 0)
			return io_error(n);
		done += (size_t)n;
	}
	return 0;
}

static size_t chunk_at(uint64_t len, uint64_t done, size_t most)
{
	return len - done < most ? (size_t)(len - done) : most;
}

/* --- senders --- */

static int send_bare(int sock, const struct memory *src)
{
	for (uint64_t done = 0; done < src->len;) {
		ssize_t n = write(sock, src->map + done, chunk_at(src->len, done, CHUNK));

		if (n <= 0)
			return io_error(n);
		done += (uint64_t)n;
	}
	return 0;
}

static int writev_exact(int sock, struct iovec *iov, int n_iov)
{
	while (n_iov > 0) {
		ssize_t n = writev(sock, iov, n_iov);

		if (n <= 0)
			return io_error(n);
		while (n_iov > 0 && (size_t)n >= iov->iov_len) {
			n -= (ssize_t)iov->iov_len;
			iov++;
			n_iov--;
		}
		if (n_iov > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

static int send_pages(int sock, const struct memory *src)
{
	uint64_t headers[FRAMES];
	struct iovec iov[2 * FRAMES];

	for (uint64_t done = 0; done < src->len;) {
		int n = 0;

		for (unsigned int i = 0; i < FRAMES && done < src->len; i++, done += PAGE) {
			headers[i] = done;
			iov[n++] = (struct iovec){ &headers[i], sizeof(headers[i]) };
			iov[n++] = (struct iovec){ src->map + done, PAGE };
		}
		int r = writev_exact(sock, iov, n);

		if (r < 0)
			return r;
	}
	return 0;
}

/* --- receivers --- */

static int receive_mapped(int sock, const struct memory *dst)
{
	for (uint64_t done = 0; done < dst->len;) {
		ssize_t n = read(sock, dst->map + done, chunk_at(dst->len, done, CHUNK));

		if (n <= 0)
			return io_error(n);
		done += (uint64_t)n;
	}
	return 0;
}

static int receive_pwrite(int sock, const struct memory *dst)
{
	static uint8_t buf[BUFFER];

	for (uint64_t done = 0; done < dst->len;) {
		ssize_t n = read(sock, buf, chunk_at(dst->len, done, sizeof(buf)));

		if (n <= 0)
			return io_error(n);
		int e = pwrite_exact(dst->fd, buf, (size_t)n, dst->offset + done);

		if (e < 0)
			return e;
		done += (uint64_t)n;
	}
	return 0;
}

/* Move N bytes from SOCK through PIPES to FD at AT. */
static int splice_through(int sock, const int pipes[2], int fd, size_t len, uint64_t at)
{
	off_t off = (off_t)at;

	for (size_t left = len; left > 0;) {
		ssize_t in = splice(sock, NULL, pipes[1], NULL, left, SPLICE_F_MOVE);

		if (in <= 0)
			return io_error(in);
		left -= (size_t)in;
		while (in > 0) {
			ssize_t out = splice(pipes[0], NULL, fd, &off, (size_t)in, SPLICE_F_MOVE);

			if (out <= 0)
				return io_error(out);
			in -= out;
		}
	}
	return 0;
}

static int pipe_new(int pipes[2])
{
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -errno;
	/* As large as it gets unprivileged (/proc/sys/fs/pipe-max-size); the default works too,
	 * only slower. */
	(void)fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20);
	return 0;
}

static int receive_splice(int sock, const struct memory *dst)
{
	int pipes[2];
	int e = pipe_new(pipes);

	for (uint64_t done = 0; e == 0 && done < dst->len; done += CHUNK)
		e = splice_through(sock, pipes, dst->fd, chunk_at(dst->len, done, CHUNK),
				   dst->offset + done);
	return e;
}

static int uffd_open(const struct memory *dst)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)dst->map, dst->len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		return -errno;
	return fd;
}

static int receive_uffd(int sock, const struct memory *dst)
{
	static uint8_t buf[BUFFER];
	int fd = uffd_open(dst);

	if (fd < 0)
		return fd;
	for (uint64_t done = 0; done < dst->len;) {
		size_t len = chunk_at(dst->len, done, sizeof(buf));
		struct uffdio_copy copy = {
			.dst = (uintptr_t)dst->map + done,
			.src = (uintptr_t)buf,
			.len = len,
		};
		int e = read_exact(sock, buf, len);

		if (e < 0)
			return e;
		if (ioctl(fd, UFFDIO_COPY, &copy) < 0)
			return -errno;
		done += len;
	}
	return 0;
}

/* Write N_FRAMES whole frames at BUF, contiguous pages in one call. */
static int place_frames(const struct memory *dst, uint8_t *buf, size_t n_frames)
{
	struct iovec iov[FRAMES + 1];

	for (size_t i = 0; i < n_frames;) {
		uint64_t first, at;
		int n = 0;

		memcpy(&first, buf + i * FRAME, sizeof(first));
		at = first;
		do {
			iov[n++] = (struct iovec){ buf + i * FRAME + sizeof(at), PAGE };
			i++;
			if (i < n_frames)
				memcpy(&at, buf + i * FRAME, sizeof(at));
		} while (i < n_frames && at == first + (uint64_t)n * PAGE);
		if (first > dst->len - (uint64_t)n * PAGE)
			return -EPROTO;
		if (pwritev(dst->fd, iov, n, (off_t)(dst->offset + first)) != (ssize_t)n * PAGE)
			return -EIO;
	}
	return 0;
}

static int receive_pages_pwritev(int sock, const struct memory *dst)
{
	static uint8_t buf[FRAMES * FRAME];
	uint64_t left = dst->len / PAGE;
	size_t have = 0;

	while (left > 0) {
		size_t want = left * FRAME - have < sizeof(buf) - have
				      ? (size_t)(left * FRAME - have)
				      : sizeof(buf) - have;
		ssize_t n = read(sock, buf + have, want);

		if (n <= 0)
			return io_error(n);
		have += (size_t)n;

		size_t whole = have / FRAME;
		int e = place_frames(dst, buf, whole);

		if (e < 0)
			return e;
		left -= whole;
		have -= whole * FRAME;
		memmove(buf, buf + whole * FRAME, have);
	}
	return 0;
}

const struct method methods[] = {
	{ "splice", "none", send_bare, receive_splice },
	{ "pwrite", "none", send_bare, receive_pwrite },
	{ "uffd-copy", "none", send_bare, receive_uffd },
	{ "mapped-read", "none", send_bare, receive_mapped },
	{ "pages-pwritev", "pages", send_pages, receive_pages_pwritev },
};
const size_t n_methods = sizeof(methods) / sizeof(methods[0]);
