/* SPDX-License-Identifier: Apache-2.0 */
/* A VMM's userfaultfd. */
#include "engine/uffd.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"

#define READ_MAX 16U

int uffd_read(int fd, struct uffd_fault *faults, size_t n)
{
	struct uffd_msg msgs[READ_MAX];
	ssize_t got = read(fd, msgs, min_u64(n, READ_MAX) * sizeof(msgs[0]));
	int count = 0;

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (size_t i = 0; i < (size_t)got / sizeof(msgs[0]); i++) {
		if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
			continue;
		faults[count++] = (struct uffd_fault){
			.address = msgs[i].arg.pagefault.address,
			.thread_id = msgs[i].arg.pagefault.feat.ptid,
			.minor = msgs[i].arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR,
			.write_protected = msgs[i].arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP,
		};
	}
	return count;
}

/* From DONE on, until something stands in the way: 0, or what. */
static int show(int fd, uint64_t address, uint64_t len, uint64_t *done)
{
	struct uffdio_continue c;
	int r;

	do {
		c = (struct uffdio_continue){ .range = { address + *done, len - *done } };
		r = ioctl(fd, UFFDIO_CONTINUE, &c) < 0 ? -errno : 0;
		if (c.mapped > 0)
			*done += (uint64_t)c.mapped;
		/* The VMM's address space is just changing. */
	} while (r == -EAGAIN && *done < len);
	return r == -EAGAIN ? 0 : r;
}

int uffd_continue(int fd, uint64_t address, uint64_t len, uint64_t page_size, uint64_t *ret_done)
{
	int r = 0;

	*ret_done = 0;
	while (r == 0 && *ret_done < len) {
		r = show(fd, address, len, ret_done);
		if (r != -EEXIST)
			continue;
		/* This page is shown already, but of that nobody was told who began to wait before. */
		r = uffd_wake(fd, address + *ret_done, page_size);
		*ret_done += page_size;
	}
	return r == -EFAULT ? -ENOENT : r;
}

int uffd_zero(int fd, uint64_t address, uint64_t page_size)
{
	struct uffdio_zeropage z;
	int r;

	do {
		z = (struct uffdio_zeropage){ .range = { address, page_size } };
		r = ioctl(fd, UFFDIO_ZEROPAGE, &z) < 0 ? -errno : 0;
	} while (r == -EAGAIN);
	return r == -EEXIST ? uffd_wake(fd, address, page_size) : r;
}

int uffd_wake(int fd, uint64_t address, uint64_t len)
{
	struct uffdio_range range = { address, len };

	return ioctl(fd, UFFDIO_WAKE, &range) < 0 ? -errno : 0;
}

int uffd_protect(int fd, uint64_t address, uint64_t len, bool on)
{
	struct uffdio_writeprotect w;
	int r;

	do {
		w = (struct uffdio_writeprotect){ .range = { address, len },
						  .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0 };
		r = ioctl(fd, UFFDIO_WRITEPROTECT, &w) < 0 ? -errno : 0;
	} while (r == -EAGAIN);
	return r;
}
