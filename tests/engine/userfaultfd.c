/* SPDX-License-Identifier: Apache-2.0 */
#include "userfaultfd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static void skip_test(const char *why)
{
	(void)printf("SKIP: %s\n", why);
	exit(77);
}

int userfaultfd_or_skip(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd = device >= 0 ? ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK) : -1;

	if (getenv("MIGD_VALGRIND"))
		skip_test("valgrind runs one thread at a time: who waits for a page keeps those from running that would bring it");
	if (device >= 0)
		(void)close(device);
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		skip_test("neither /dev/userfaultfd nor userfaultfd(2) can be used here");
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	return fd;
}

void userfaultfd_register(int fd, uint64_t address, uint64_t len, uint64_t mode)
{
	struct uffdio_register reg = { .range = { address, len }, .mode = mode };

	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
}

int userfaultfd_for_missing(const void *memory, uint64_t len)
{
	int fd = userfaultfd_or_skip(UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_THREAD_ID);

	userfaultfd_register(fd, (uintptr_t)memory, len, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR);
	return fd;
}
