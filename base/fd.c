/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

int close_fd(int fd)
{
	int saved = errno;

	if (fd >= 0)
		(void)close(fd);
	errno = saved;
	return -1;
}

/* One loop for the four: OFFSET < 0 means "at the file position". */
static int transfer(int fd, void *buf, size_t len, off_t offset, bool out)
{
	uint8_t *p = buf;
	ssize_t n;

	while (len > 0) {
		if (out)
			n = offset < 0 ? write(fd, p, len) : pwrite(fd, p, len, offset);
		else
			n = offset < 0 ? read(fd, p, len) : pread(fd, p, len, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return out ? -EIO : -ENODATA;
		p += n;
		len -= (size_t)n;
		if (offset >= 0)
			offset += n;
	}
	return 0;
}

int fd_read_full(int fd, void *buf, size_t len)
{
	return transfer(fd, buf, len, -1, false);
}

int fd_write_full(int fd, const void *buf, size_t len)
{
	return transfer(fd, (void *)(uintptr_t)buf, len, -1, true);
}

int fd_pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	return transfer(fd, buf, len, (off_t)offset, false);
}

int fd_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset)
{
	return transfer(fd, (void *)(uintptr_t)buf, len, (off_t)offset, true);
}

static int change_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);

	if (flags < 0)
		return -errno;
	return fcntl(fd, set, on ? flags | flag : flags & ~flag) < 0 ? -errno : 0;
}

int fd_set_nonblock(int fd, bool on)
{
	return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_set_cloexec(int fd, bool on)
{
	return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int fd_accept(int fd)
{
	/* cppcheck-suppress nullPointer ; nobody asks for the address, which is allowed */
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (conn >= 0)
		return conn;
	return errno == EINTR || errno == ECONNABORTED ? -EAGAIN : -errno;
}

DIR *fd_listing(int dir)
{
	/* An open file of its own: a duplicate would go on where another has read. */
	int fd = dir < 0 ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		close_fd(fd);
	return d;
}

int fd_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

int fd_memfd(const char *name, uint64_t len)
{
	_cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)len) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int fd_wait(int fd, short events, int cancel_fd, uint64_t deadline_ns)
{
	struct pollfd p[2] = { { .fd = fd, .events = events }, { .fd = cancel_fd, .events = POLLIN } };
	int n;

	for (;;) {
		n = poll(p, 2, clock_poll_ms(deadline_ns));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (p[1].revents)
			return -ECANCELED;
		if (p[0].revents)
			return p[0].revents;
		if (clock_now_ns() >= deadline_ns)
			return -ETIMEDOUT;
	}
}

int wake_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

void wake_raise(int fd)
{
	uint64_t one = 1;

	/* A full counter means that it is raised already. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

void wake_drain(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return;
}
