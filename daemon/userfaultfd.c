/* SPDX-License-Identifier: Apache-2.0 */
/* userfaultfd as the kernel of this host has it: Documentation/admin-guide/mm/userfaultfd.rst. */
#include "daemon/userfaultfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

/* Guest memory is shared: memfds and files. */
#define NEEDED (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM)

/* By the device, or by the system call, which kernel faults (KVM's are) need rights for. */
static int userfaultfd_open(void)
{
	_cleanup_close_ int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd = device < 0 ? -1 : ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int userfaultfd_check(struct merr *err)
{
	struct uffdio_api api = { .api = UFFD_API, .features = NEEDED };
	_cleanup_close_ int fd = userfaultfd_open();

	if (fd == -EPERM || fd == -EACCES) {
		log_warning("this daemon may not use userfaultfd: post-copy works only for VMMs that may. Let it open "
			    "/dev/userfaultfd, or set the sysctl vm.unprivileged_userfaultfd to 1");
		return 0;
	}
	if (fd < 0)
		return merr_set(err, -ENOTSUP, "Postcopy is not supported: userfaultfd cannot be had on this host: %s",
				strerror(-fd));
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return merr_set(err, -ENOTSUP,
				"Postcopy is not supported: this kernel's userfaultfd does not do shared memory with "
				"UFFDIO_CONTINUE (Linux 5.14 does): %s", strerror(errno));
	return 0;
}
