/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID: all that KVM supports, with each vCPU's own APIC id and the guest's topology (Intel SDM 2A, CPUID; AMD APM 3, E). */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm.h"
#include "vmm/util.h"

#define CPUID_ENTRIES_FIRST 128
#define CPUID_ENTRIES_MAX 1024

#define LEAF1_ECX_TSC_DEADLINE (1U << 24)
#define LEAF1_ECX_HYPERVISOR (1U << 31)
#define LEAF1_EDX_HTT (1U << 28)

int cpuid_get_supported(int kvm_fd, struct kvm_cpuid2 **ret)
{
	for (uint32_t n = CPUID_ENTRIES_FIRST; n <= CPUID_ENTRIES_MAX; n *= 2) {
		struct kvm_cpuid2 *cpuid =
			calloc(1, sizeof(*cpuid) + n * sizeof(cpuid->entries[0]));
		if (!cpuid)
			return fail(-ENOMEM, "no memory for CPUID");
		cpuid->nent = n;
		if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) == 0) {
			*ret = cpuid;
			return 0;
		}
		int error = errno;
		free(cpuid);
		if (error != E2BIG)
			return fail(-error, "KVM_GET_SUPPORTED_CPUID: %s", strerrordesc_np(error));
	}
	return fail(-E2BIG, "KVM_GET_SUPPORTED_CPUID has more than %d entries", CPUID_ENTRIES_MAX);
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *cpuid, uint32_t function,
					  uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
		if (e->function == function &&
		    (e->index == index || !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return e;
	}
	return NULL;
}

/* The bits of an APIC id that tell N cores apart. */
static uint32_t core_bits(unsigned int n)
{
	uint32_t bits = 0;
	while (1U << bits < n)
		bits++;
	return bits;
}

static void set_features(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int n)
{
	uint32_t ids = 1U << core_bits(n);
	e->ebx = (e->ebx & 0xffff) | MIN(ids, 255U) << 16 | index << 24;
	/* KVM's in-kernel APIC always has the deadline timer; it leaves saying so to the VMM. */
	e->ecx |= LEAF1_ECX_TSC_DEADLINE | LEAF1_ECX_HYPERVISOR;
	e->edx = n > 1 ? e->edx | LEAF1_EDX_HTT : e->edx & ~LEAF1_EDX_HTT;
}

/* Deterministic cache parameters: cores in the package; L1 and L2 one core's, L3 everybody's. */
static void set_caches(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int n)
{
	(void)index;
	if (!(e->eax & 0x1f))
		return;
	uint32_t level = e->eax >> 5 & 7, cores = (1U << core_bits(n)) - 1;
	e->eax = (e->eax & 0x3fff) | (level >= 3 ? cores : 0) << 14 | MIN(cores, 63U) << 26;
}

/* Extended topology: level 0 one thread a core, level 1 the cores. */
static void set_topology(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int n)
{
	static const uint32_t type_smt = 1 << 8, type_core = 2 << 8;
	e->eax = e->index == 1 ? core_bits(n) : 0;
	e->ebx = e->index == 1 ? n : e->index == 0;
	e->ecx = e->index | (e->index == 0 ? type_smt : e->index == 1 ? type_core : 0);
	e->edx = index;
}

static void set_amd_sizes(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int n)
{
	(void)index;
	e->ecx = (e->ecx & ~0xf0ffU) | core_bits(n) << 12 | (n - 1);
}

static void set_amd_topology(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int n)
{
	(void)n;
	e->eax = index;
	e->ebx = (e->ebx & ~0xffffU) | (index & 0xff);
	e->ecx = 0;
}

static const struct {
	uint32_t function;
	void (*set)(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int n);
} topology_leaves[] = {
	{ 0x1, set_features },	       { 0x4, set_caches },
	{ 0xb, set_topology },	       { 0x1f, set_topology },
	{ 0x80000008, set_amd_sizes }, { 0x8000001e, set_amd_topology },
};

void cpuid_set_topology(struct kvm_cpuid2 *cpuid, unsigned int index, unsigned int n)
{
	for (uint32_t i = 0; i < cpuid->nent; i++)
		for (size_t k = 0; k < ARRAY_SIZE(topology_leaves); k++)
			if (cpuid->entries[i].function == topology_leaves[k].function)
				topology_leaves[k].set(&cpuid->entries[i], index, n);
}
