/* SPDX-License-Identifier: Apache-2.0 */
/* userfaultfd as the kernel of this host has it: Documentation/admin-guide/mm/userfaultfd.rst. */
#include "daemon/userfaultfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

/* What is asked of it for guest memory, which is shared: memfds and files. */
static const struct {
	const char *what;
	uint64_t features;
	const char *lacks;
} uses[] = {
	[USERFAULTFD_POSTCOPY] = { "Postcopy", UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM,
				   "do shared memory with UFFDIO_CONTINUE (Linux 5.14 does)" },
	[USERFAULTFD_SNAPSHOT] = { "Background-snapshot",
				   UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
				   "write-protect shared memory (Linux 5.19 does, on x86-64 and arm64)" },
};

/* By the device, or by the system call, which kernel faults (KVM's are) need rights for. */
static int userfaultfd_open(void)
{
	_cleanup_close_ int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd = device < 0 ? -1 : ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int userfaultfd_check(enum userfaultfd_use use, struct merr *err)
{
	struct uffdio_api api = { .api = UFFD_API, .features = uses[use].features };
	_cleanup_close_ int fd = userfaultfd_open();

	if (fd == -EPERM || fd == -EACCES) {
		log_warning("this daemon may not use userfaultfd: %s works only for VMMs that may. Let it open "
			    "/dev/userfaultfd, or set the sysctl vm.unprivileged_userfaultfd to 1", uses[use].what);
		return 0;
	}
	if (fd < 0)
		return merr_set(err, -ENOTSUP, "%s is not supported: userfaultfd cannot be had on this host: %s",
				uses[use].what, strerror(-fd));
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return merr_set(err, -ENOTSUP, "%s is not supported: this kernel's userfaultfd does not %s: %s",
				uses[use].what, uses[use].lacks, strerror(errno));
	return 0;
}
