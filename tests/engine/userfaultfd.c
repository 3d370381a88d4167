/* SPDX-License-Identifier: Apache-2.0 */
#include "userfaultfd.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOR_MISSING (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_THREAD_ID)
#define REGISTER_MISSING (UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR)

static void skip_test(const char *why)
{
	(void)printf("SKIP: %s\n", why);
	exit(77);
}

static int userfaultfd_new(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd = device >= 0 ? ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK) : -1;

	if (device >= 0)
		(void)close(device);
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	assert(fd < 0 || ioctl(fd, UFFDIO_API, &api) == 0);
	return fd;
}

int userfaultfd_or_skip(uint64_t features)
{
	int fd = userfaultfd_new(features);

	if (getenv("MIGD_VALGRIND"))
		skip_test("valgrind runs one thread at a time: who waits for a page keeps those from running that would bring it");
	if (fd < 0)
		skip_test("neither /dev/userfaultfd nor userfaultfd(2) can be used here");
	return fd;
}

void userfaultfd_register(int fd, uint64_t address, uint64_t len, uint64_t mode)
{
	struct uffdio_register reg = { .range = { address, len }, .mode = mode };

	assert(ioctl(fd, UFFDIO_REGISTER, &reg) == 0);
}

int userfaultfd_for_missing(const void *memory, uint64_t len)
{
	int fd = userfaultfd_or_skip(FOR_MISSING);

	userfaultfd_register(fd, (uintptr_t)memory, len, REGISTER_MISSING);
	return fd;
}

int userfaultfd_for_missing_if_any(const void *memory, uint64_t len)
{
	int fd = userfaultfd_new(FOR_MISSING);

	if (fd >= 0)
		userfaultfd_register(fd, (uintptr_t)memory, len, REGISTER_MISSING);
	return fd;
}
