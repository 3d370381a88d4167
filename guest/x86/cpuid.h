/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID tables: reading, comparing, and whether KVM here can give a guest the source's. */
#ifndef MIGD_GUEST_X86_CPUID_H
#define MIGD_GUEST_X86_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "attach/mismatch.h"
#include "base/err.h"

/* A table with room for X86_CPUID_MAX entries and `nent` = that; NULL: no memory. free() it. */
struct kvm_cpuid2 *x86_cpuid_new(void);

/* Through a vCPU: what the guest sees. Through /dev/kvm: what KVM could give. *ret: free() it. */
int x86_cpuid_of_vcpu(int vcpu_fd, struct kvm_cpuid2 **ret, struct merr *err);
int x86_cpuid_supported(int kvm_fd, struct kvm_cpuid2 **ret, struct merr *err);

/* The components of XSAVE that the guest of a vCPU may use, supervisor ones included. */
int x86_cpuid_xcr0_mask(int vcpu_fd, uint64_t *ret, struct merr *err);

const struct kvm_cpuid_entry2 *x86_cpuid_find(const struct kvm_cpuid2 *t, uint32_t function,
					      uint32_t index);

/* Alike, but for bits that follow the guest's registers (OSXSAVE, ...) and entries of zeros. */
bool x86_cpuid_equal(const struct kvm_cpuid2 *a, const struct kvm_cpuid2 *b);

/*
 * Report to M each feature of SOURCE that neither SUPPORTED nor the vCPU's own table LOCAL has. Returns in how many registers.
 * Where there is none but LOCAL differs all the same, SOURCE can be given to the vCPU.
 */
unsigned int x86_cpuid_missing(const struct kvm_cpuid2 *source, const struct kvm_cpuid2 *supported,
			       const struct kvm_cpuid2 *local, struct mismatches *m);

#endif
