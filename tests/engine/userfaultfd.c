/* SPDX-License-Identifier: Apache-2.0 */
#include "userfaultfd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void skip(const char *why)
{
	(void)printf("SKIP: %s\n", why);
	exit(77);
}

int userfaultfd_or_skip(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd = device >= 0 ? ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK) : -1;

	if (getenv("MIGD_VALGRIND"))
		skip("valgrind runs one thread at a time: who waits for a page keeps those from running that would bring it");
	if (device >= 0)
		(void)close(device);
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		skip("neither /dev/userfaultfd nor userfaultfd(2) can be used here");
	return fd;
}
