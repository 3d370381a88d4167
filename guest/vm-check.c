/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a VM's memory can be migrated at all. */
#include "guest/vm-check.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* From Linux 6.8 on (Documentation/virt/kvm/api.rst 4.140); older headers lack them. */
#ifndef KVM_CAP_MEMORY_ATTRIBUTES
#define KVM_CAP_MEMORY_ATTRIBUTES 233
#endif
#ifndef KVM_MEMORY_ATTRIBUTE_PRIVATE
#define KVM_MEMORY_ATTRIBUTE_PRIVATE (1ULL << 3)
#endif

/* Only VM types with private memory can make memory private. */
static bool has_private_memory(int vm_fd)
{
	int have = ioctl(vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES);

	return have > 0 && ((uint64_t)have & KVM_MEMORY_ATTRIBUTE_PRIVATE);
}

/*
 * KVM_SEV_GUEST_STATUS is refused with ENOTTY unless the VM was made a SEV guest; of one it goes on to look at the descriptor
 * of /dev/sev, which is wrong on purpose.
 */
static bool is_sev_guest(int vm_fd)
{
#ifdef __x86_64__
	struct kvm_sev_guest_status status = { 0 };
	struct kvm_sev_cmd cmd = {
		.id = KVM_SEV_GUEST_STATUS,
		.data = (uint64_t)(uintptr_t)&status,
		.sev_fd = UINT32_MAX,
	};

	return ioctl(vm_fd, KVM_MEMORY_ENCRYPT_OP, &cmd) == 0 || errno == EBADF;
#else
	(void)vm_fd;
	return false;
#endif
}

int vm_check(int vm_fd, struct merr *err)
{
	if (has_private_memory(vm_fd))
		return merr_set(err, -ENOTSUP,
				"the VM has private memory (SEV-SNP, TDX or software-protected): a guest whose "
				"memory only it can read cannot be migrated");
	if (is_sev_guest(vm_fd))
		return merr_set(err, -ENOTSUP,
				"the VM is a SEV guest: its memory is encrypted with a key of this host and "
				"cannot be migrated");
	return 0;
}
