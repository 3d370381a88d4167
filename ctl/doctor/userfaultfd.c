/* SPDX-License-Identifier: Apache-2.0 */
/* userfaultfd, which post-copy, lazy restore and background snapshots need: Documentation/admin-guide/mm/userfaultfd.rst. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "ctl/doctor/doctor.h"

static const struct {
	uint64_t features;
	const char *check, *use, *advice;
} uses[] = {
	{ UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM, "postcopy", "post-copy and lazy restore",
	  "use a kernel of Linux 5.14 or later" },
	{ UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM, "snapshots", "background snapshots",
	  "use a kernel of Linux 5.19 or later" },
};

/* *BY: what let us have it. */
static int open_one(const char **by)
{
	_cleanup_close_ int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd = device < 0 ? -1 : ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);

	*by = "/dev/userfaultfd";
	if (fd < 0) {
		*by = "the system call";
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	}
	return fd < 0 ? -errno : fd;
}

void doctor_check_userfaultfd(struct doctor *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(uses); i++) {
		struct uffdio_api api = { .api = UFFD_API, .features = uses[i].features };
		const char *by;
		/* Each can be asked for its features once. */
		_cleanup_close_ int fd = open_one(&by);

		if (fd == -EPERM || fd == -EACCES)
			doctor_say(d, DOCTOR_WARNING, uses[i].check,
				   "let migd or the VMMs open /dev/userfaultfd (both its group and mode), or set the sysctl "
				   "vm.unprivileged_userfaultfd to 1",
				   "no %s: userfaultfd is not permitted", uses[i].use);
		else if (fd < 0)
			doctor_say(d, DOCTOR_WARNING, uses[i].check, "use a kernel with CONFIG_USERFAULTFD", "no %s: userfaultfd: %s",
				   uses[i].use, strerror(-fd));
		else if (ioctl(fd, UFFDIO_API, &api) < 0)
			doctor_say(d, DOCTOR_WARNING, uses[i].check, uses[i].advice, "no %s: this userfaultfd lacks a feature: %s",
				   uses[i].use, strerror(errno));
		else
			doctor_say(d, DOCTOR_OK, uses[i].check, NULL, "%s can be done: userfaultfd by %s", uses[i].use, by);
	}
}
