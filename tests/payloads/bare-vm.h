/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least machine that a payload of vmm/payload-abi.h runs on: RAM, in-kernel interrupt
 * controllers and timer, and the ports, straight on /dev/kvm. It tests payloads without migd-vmm
 * and its devices.
 *
 * A test creates the machine, starts it, waits for conditions on what the payload left in memory or
 * did with a port, and frees it. What the vCPU threads did is read through the accessors, from the
 * test's thread.
 */
#ifndef MIGD_TESTS_BARE_VM_H
#define MIGD_TESTS_BARE_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/payload-abi.h"

#define BARE_MEMORY_BYTES (64u << 20)

struct bare_vm;

enum bare_event {
	BARE_RESETS,          /* the machine did it, and runs on */
	BARE_SHUTDOWNS,       /* triple fault; the vCPU that had it stays where it is */
	BARE_POWEROFFS,       /* the vCPU stays where it is */
	BARE_EXITS,           /* likewise; the status is in bare_vm_exit_status() */
	BARE_SLEEPS,          /* woken at once */
	BARE_INTERNAL_ERRORS, /* KVM could not emulate an instruction; the vCPU stays where it is */
	BARE_N_EVENTS,
};

/* Whether /dev/kvm is there; where it is not, *ret_reason says why. */
bool bare_vm_is_possible(const char **ret_reason);

/*
 * The caller's parameters; magic, n_vcpus and memory_bytes are filled in. One vCPU or two. Fails
 * the test on errors.
 */
struct bare_vm *bare_vm_new(const char *payload, unsigned int n_vcpus,
			    const struct payload_param *param);
/* Adds a disk of zeros at virtio window 0. Before the start. */
void bare_vm_add_disk(struct bare_vm *vm, uint64_t size_bytes);
/* Changes a byte of the disk while the machine stands still. */
void bare_vm_damage_disk(struct bare_vm *vm, uint64_t offset);
/* Likewise a byte of an XMM register of vCPU 0. */
void bare_vm_damage_xmm(struct bare_vm *vm, unsigned int reg);
/* Sets kvmclock while the machine stands still. */
void bare_vm_set_clock(struct bare_vm *vm, uint64_t ns);
void bare_vm_start(struct bare_vm *vm);
/* Stops all vCPUs between two instructions, and lets them go on. */
void bare_vm_pause(struct bare_vm *vm);
void bare_vm_resume(struct bare_vm *vm);
void bare_vm_free(struct bare_vm *vm);

volatile struct payload_result *bare_vm_result(struct bare_vm *vm);
void *bare_vm_memory(struct bare_vm *vm, uint64_t gpa);
unsigned int bare_vm_count(struct bare_vm *vm, enum bare_event event);
unsigned int bare_vm_exit_status(struct bare_vm *vm);
bool bare_vm_has_printed(struct bare_vm *vm, const char *text);

/* Waits until the condition holds; fails the test, with what the machine did so far, after 30 s. */
/* clang-format off */
#define bare_vm_await(vm, condition)                                                               \
	for (uint64_t deadline_ns_ = bare_vm_deadline(); !(condition);)                            \
		bare_vm_await_step((vm), deadline_ns_, #condition, __FILE__, __LINE__)
/* clang-format on */
uint64_t bare_vm_deadline(void);
void bare_vm_await_step(struct bare_vm *vm, uint64_t deadline_ns, const char *what,
			const char *file, int line);

#endif
