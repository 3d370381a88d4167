/* SPDX-License-Identifier: Apache-2.0 */
/* A tap interface of the host. */
#include "vmm/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/util.h"

int tap_open(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	if (strlen(name) >= sizeof(request.ifr_name))
		return fail(-EINVAL, "--net: '%s' is too long for an interface's name", name);
	memcpy(request.ifr_name, name, strlen(name));
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return fail(-errno, "--net: cannot open '/dev/net/tun': %m");
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return fail(-errno, "--net: cannot use tap interface '%s': %m", name);
	return take_fd(&fd);
}
