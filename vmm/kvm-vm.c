/* SPDX-License-Identifier: Apache-2.0 */
/* Making the VM: descriptors, capabilities, in-kernel devices, memory slots, vCPUs. */
#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/util.h"

/* Below the BIOS area at 4 GiB, where RAM never is (ram.h): 1 page identity map, 3 pages TSS. */
#define IDENTITY_MAP_GPA 0xfffbc000ULL
#define TSS_GPA 0xfffbd000UL

static int open_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return fail(-errno, "there is no /dev/kvm: this machine or kernel has no KVM");
	if (fd < 0)
		return fail(-errno, "cannot open /dev/kvm: %m; is the user in the group kvm?");
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		(void)close(fd);
		return fail(-ENOTSUP, "KVM has API version %d, not %d", version, KVM_API_VERSION);
	}
	return fd;
}

static int enable_dirty_ring(struct kvm *kvm, uint32_t entries)
{
	uint64_t bytes = (uint64_t)entries * sizeof(struct kvm_dirty_gfn);
	int max = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);
	if (max <= 0)
		return fail(-ENOTSUP, "this KVM has no dirty ring: leave out --dirty-ring");
	if (bytes > (uint64_t)max)
		return fail(-EINVAL, "--dirty-ring: this KVM has at most %zu entries, not %u",
			    (size_t)max / sizeof(struct kvm_dirty_gfn), entries);
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { bytes } };
	if (ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap) < 0)
		return fail(-errno, "KVM refuses a dirty ring of %u entries: %m", entries);
	kvm->dirty_ring_entries = entries;
	return 0;
}

static int create_chips(struct kvm *kvm)
{
	uint64_t identity = IDENTITY_MAP_GPA;
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	if (ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return fail(-errno, "KVM_SET_IDENTITY_MAP_ADDR: %m");
	if (ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, TSS_GPA) < 0)
		return fail(-errno, "KVM_SET_TSS_ADDR: %m");
	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return fail(-errno, "KVM_CREATE_IRQCHIP: %m");
	if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return fail(-errno, "KVM_CREATE_PIT2: %m");
	return 0;
}

static int get_chips(struct kvm *kvm)
{
	for (unsigned int i = 0; i < KVM_N_IRQCHIPS; i++) {
		kvm->chips[i].chip_id = i;
		if (ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &kvm->chips[i]) < 0)
			return fail(-errno, "KVM_GET_IRQCHIP %u: %m", i);
	}
	if (ioctl(kvm->vm_fd, KVM_GET_PIT2, &kvm->pit) < 0)
		return fail(-errno, "KVM_GET_PIT2: %m");
	return 0;
}

int kvm_reset_chips(struct kvm *kvm)
{
	for (unsigned int i = 0; i < KVM_N_IRQCHIPS; i++)
		if (ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &kvm->chips[i]) < 0)
			return fail(-errno, "KVM_SET_IRQCHIP %u: %m", i);
	if (ioctl(kvm->vm_fd, KVM_SET_PIT2, &kvm->pit) < 0)
		return fail(-errno, "KVM_SET_PIT2: %m");
	return 0;
}

static int init_vm(struct kvm *kvm, uint32_t dirty_ring_entries)
{
	kvm->fd = open_kvm();
	if (kvm->fd < 0)
		return kvm->fd;
	int len = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (len < (int)sizeof(struct kvm_run))
		return fail(-ENOTSUP, "KVM_GET_VCPU_MMAP_SIZE returned %d", len);
	kvm->run_len = (size_t)len;
	kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0UL);
	if (kvm->vm_fd < 0)
		return fail(-errno, "KVM_CREATE_VM: %m");
	int r = dirty_ring_entries ? enable_dirty_ring(kvm, dirty_ring_entries) : 0;
	if (r == 0)
		r = create_chips(kvm);
	if (r == 0)
		r = get_chips(kvm);
	return r == 0 ? cpuid_get_supported(kvm->fd, &kvm->cpuid) : r;
}

int kvm_init(struct kvm *kvm, uint32_t dirty_ring_entries)
{
	*kvm = (struct kvm){ .fd = -1, .vm_fd = -1 };
	int r = init_vm(kvm, dirty_ring_entries);
	if (r < 0)
		kvm_done(kvm);
	return r;
}

void kvm_done(struct kvm *kvm)
{
	free(kvm->cpuid);
	if (kvm->vm_fd >= 0)
		(void)close(kvm->vm_fd);
	if (kvm->fd >= 0)
		(void)close(kvm->fd);
	*kvm = (struct kvm){ .fd = -1, .vm_fd = -1 };
}

int kvm_add_slot(struct kvm *kvm, uint32_t slot, uint64_t gpa, void *host, uint64_t len)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)host,
	};
	if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return fail(-errno, "KVM refuses %llu MiB of RAM at %#llx: %m",
			    (unsigned long long)(len / MIB), (unsigned long long)gpa);
	return 0;
}

void kvm_set_irq(const struct kvm *kvm, unsigned int gsi, bool level)
{
	if (kvm->vm_fd < 0)
		return;
	struct kvm_irq_level irq = { .irq = gsi, .level = level };
	if (ioctl(kvm->vm_fd, KVM_IRQ_LINE, &irq) < 0)
		note(LOG_ERR, "KVM_IRQ_LINE %u: %m", gsi);
}

int kvm_create_vcpu(struct kvm *kvm, unsigned int index, unsigned int n)
{
	_cleanup_close_ int fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (fd < 0)
		return fail(-errno, "KVM cannot make vCPU %u: %m", index);
	size_t len = sizeof(*kvm->cpuid) + kvm->cpuid->nent * sizeof(kvm->cpuid->entries[0]);
	_cleanup_free_ struct kvm_cpuid2 *cpuid = malloc(len);
	if (!cpuid)
		return fail(-ENOMEM, "no memory for vCPU %u", index);
	memcpy(cpuid, kvm->cpuid, len);
	cpuid_set_topology(cpuid, index, n);
	if (ioctl(fd, KVM_SET_CPUID2, cpuid) < 0)
		return fail(-errno, "KVM refuses vCPU %u's CPUID: %m", index);
	return take_fd(&fd);
}
