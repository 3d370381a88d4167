/* SPDX-License-Identifier: Apache-2.0 */
/* KVM: there, open to us, of the version that is known, and with what migration needs of it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "ctl/doctor/doctor.h"

#define DEVICE "/dev/kvm"

static const struct {
	int cap;
	const char *name;
	bool needed;
	const char *without;	/* what is lost without it */
} extensions[] = {
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit", true, "vCPUs cannot be stopped" },
	{ KVM_CAP_USER_MEMORY, "user memory", true, "guests have no memory" },
	{ KVM_CAP_MP_STATE, "vCPU run states", true, "vCPUs cannot be moved" },
	{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "manual dirty log", false, "passes over memory stop the guest for longer" },
	{ KVM_CAP_DIRTY_LOG_RING, "dirty ring", false, "no limit of what a vCPU dirties, and no dirty rate by vCPU" },
#ifdef __x86_64__
	{ KVM_CAP_ADJUST_CLOCK, "kvmclock", false, "guests' clocks jump" },
	{ KVM_CAP_XSAVE, "xsave", false, "vector registers cannot be moved" },
	{ KVM_CAP_VCPU_EVENTS, "vCPU events", false, "interrupts can be lost" },
#endif
};

static void check_extensions(struct doctor *d, int fd)
{
	bool all = true;
	char text[128];

	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
		if (ioctl(fd, KVM_CHECK_EXTENSION, extensions[i].cap) > 0)
			continue;
		all = false;
		(void)snprintf(text, sizeof(text), "without it %s", extensions[i].without);
		doctor_say(d, extensions[i].needed ? DOCTOR_PROBLEM : DOCTOR_WARNING, "kvm-extensions", text,
			   "this kernel's KVM has no %s", extensions[i].name);
	}
	if (all)
		doctor_say(d, DOCTOR_OK, "kvm-extensions", NULL, "KVM has all that migration uses");
}

static const char *advice_for(int error)
{
	switch (error) {
	case ENOENT:
		return "load the module kvm_intel or kvm_amd; in a virtual machine, have its host allow nesting";
	case EACCES:
	case EPERM:
		return "add who runs the VMMs to the device's group (usually kvm)";
	default:
		return "see the kernel's log for kvm; virtualization may be off in the firmware";
	}
}

void doctor_check_kvm(struct doctor *d)
{
	_cleanup_close_ int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0) {
		doctor_say(d, DOCTOR_PROBLEM, "kvm", advice_for(errno), "cannot open " DEVICE ": %s", strerror(errno));
		return;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		doctor_say(d, DOCTOR_PROBLEM, "kvm", "use a kernel of Linux 2.6.22 or later", DEVICE " has version %d of its API, not %d",
			   version, KVM_API_VERSION);
		return;
	}
	doctor_say(d, DOCTOR_OK, "kvm", NULL, DEVICE " can be opened, and has version %d of its API", version);
	check_extensions(d, fd);
}
