/* SPDX-License-Identifier: Apache-2.0 */
/* A bare KVM VM for tests of guest/x86: one or more vCPUs, one memfd that outlives it, and the hop to the next VM. */
#ifndef TESTS_X86_VM_H
#define TESTS_X86_VM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "guest/state.h"

#define VM_MEM_LEN (2U << 20)
#define VM_VCPUS_MAX 2

/* What a test's VM has; zero: an irqchip, a PIT, one vCPU, all of KVM's CPUID. */
struct vm_options {
	bool bare;		/* no irqchip, no PIT */
	bool split;		/* LAPICs in the kernel only */
	unsigned int n_vcpus;
	void (*edit_cpuid)(struct kvm_cpuid2 *t, unsigned int index);
};

struct vm {
	int kvm, fd;
	int vcpus[VM_VCPUS_MAX];
	struct kvm_run *runs[VM_VCPUS_MAX];
	int run_len;
	uint8_t *mem;
	struct guest_tables *tables;
	struct arch_state *arch;
};

/* Exit with 77 and say why, unless /dev/kvm works. */
void vm_require_kvm(void);

/* Memory for vm_open(): a memfd of VM_MEM_LEN zeros. */
int vm_memory(void);

/* The same for all tests of a group: its fixtures. */
extern int vm_memfd;
int vm_memory_setup(void **state);
int vm_memory_teardown(void **state);

/* These fail the test that calls them. The memory stays the caller's. */
void vm_open(struct vm *vm, int memfd, const struct vm_options *o);
void vm_close(struct vm *vm);

/* The state in and out. */
void vm_save(struct vm *vm, struct buf *out);
int vm_load(struct vm *vm, const struct buf *in, struct merr *err);

/* Close VM and open it anew with the same memory and state, as stopped. */
void vm_hop(struct vm *vm, int memfd, const struct vm_options *o);

/*
 * Run vCPU 0 until a timer's tick finds DONE true. Output to port 0xf4 fails the test with the byte; other ports are
 * ignored. False: it was not within a minute.
 */
bool vm_run_until(struct vm *vm, bool (*done)(const struct vm *vm));

#endif
