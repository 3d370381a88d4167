/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual machine as KVM knows it: descriptors, in-kernel interrupt chips and timer, CPUID. */
#ifndef MIGD_VMM_KVM_H
#define MIGD_VMM_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVM_N_IRQCHIPS 3	/* two PICs, the I/O APIC */

struct kvm {
	int fd;			/* /dev/kvm */
	int vm_fd;		/* -1 in tests without KVM */
	size_t run_len;		/* bytes of struct kvm_run's mapping */
	uint32_t dirty_ring_entries;
	struct kvm_cpuid2 *cpuid;	/* what this KVM supports */
	struct kvm_irqchip chips[KVM_N_IRQCHIPS];	/* as created: what a reset restores */
	struct kvm_pit_state2 pit;
};

/* Make a VM with irqchip and PIT. 0 or a negative errno, logged with what to do. */
int kvm_init(struct kvm *kvm, uint32_t dirty_ring_entries);
void kvm_done(struct kvm *kvm);

int kvm_add_slot(struct kvm *kvm, uint32_t slot, uint64_t gpa, void *host, uint64_t len);

/* Set an interrupt line's level. Any thread; a no-op without a VM. */
void kvm_set_irq(const struct kvm *kvm, unsigned int gsi, bool level);

/* Interrupt chips and PIT as they were at power-on. No vCPU may run. */
int kvm_reset_chips(struct kvm *kvm);

/* Create vCPU INDEX (its APIC id as well) of N with its CPUID. Returns the descriptor. */
int kvm_create_vcpu(struct kvm *kvm, unsigned int index, unsigned int n);

/* Leaf FUNCTION, INDEX of what this KVM supports, or NULL. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *cpuid, uint32_t function,
					  uint32_t index);
/* All that KVM_GET_SUPPORTED_CPUID offers (malloc). */
int cpuid_get_supported(int kvm_fd, struct kvm_cpuid2 **ret);
/* Change CPUID to that of vCPU INDEX of N: one socket, N cores, the APIC id is the index. */
void cpuid_set_topology(struct kvm_cpuid2 *cpuid, unsigned int index, unsigned int n);

#endif
