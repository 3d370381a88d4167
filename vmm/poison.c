/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory that is damaged. */
#include "vmm/poison.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "vmm/machine.h"
#include "vmm/util.h"

#define PAGE 4096ULL

/* Linux 6.6; older headers lack them. */
#define FEATURE_POISON (1ULL << 14)
struct poison_args {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};
#define IOCTL_POISON _IOWR(UFFDIO, 0x08, struct poison_args)

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/* Nobody serves it: the pages registered with it are all poisoned at once, and cause no event. Stays open. */
static int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = FEATURE_POISON };
	_cleanup_close_ int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		return fail(-errno, "cannot poison memory: userfaultfd with UFFDIO_POISON: %m");
	return take_fd(&fd);
}

/* What the page held is dropped first: poison goes where nothing is mapped. */
static int poison_pages(int fd, void *host, uint64_t len)
{
	struct uffdio_register reg = {
		.range = { .start = (uint64_t)(uintptr_t)host, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct poison_args args = { .range = reg.range };
	if (madvise(host, len, MADV_REMOVE) < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0 || ioctl(fd, IOCTL_POISON, &args) < 0)
		return -errno;
	return 0;
}

int poison_memory(struct machine *m, uint64_t gpa, uint64_t len)
{
	uint64_t start = gpa / PAGE * PAGE, end = (gpa + len + PAGE - 1) / PAGE * PAGE;
	void *host = ram_at(&m->ram, start, end - start);
	if (!host)
		return fail(-EINVAL, "there is no memory at 0x%llx", (unsigned long long)gpa);
	if (m->uffd < 0)
		m->uffd = uffd_open();
	if (m->uffd < 0)
		return m->uffd;
	int r = poison_pages(m->uffd, host, end - start);
	if (r < 0)
		return fail(r, "cannot poison memory at 0x%llx: %s", (unsigned long long)start,
			    strerror(-r));
	note(LOG_WARNING, "memory at 0x%llx is damaged: %llu bytes", (unsigned long long)start,
	     (unsigned long long)(end - start));
	return 0;
}

int poison_report(struct machine *m, uint64_t gpa)
{
	int r = poison_memory(m, gpa, 1);
	if (r == 0 && migd_guest_ram_poisoned(m->guest, gpa, 1) < 0)
		return fail(-EINVAL, "%s", migd_guest_error());
	return r;
}
