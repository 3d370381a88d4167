/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tiny VMM for tests, on real KVM and the public header only: a few pages of real-mode code, one
 * port device.
 */
#ifndef MIGD_TESTS_GUEST_VM_H
#define MIGD_TESTS_GUEST_VM_H

#include <migd/guest.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VM_PAGE      4096U
#define VM_RAM_LEN   (256U * VM_PAGE)
#define VM_CODE      0x1000U
#define VM_COUNTER   0x2000U /* u32 per vCPU, 64 bytes apart */
#define VM_FAILED    0x2100U /* u8: the guest saw something wrong */
#define VM_GO        0x2200U /* u16: changed by the test to let the list program go again */
#define VM_LIST      0x3000U /* u16 segments of pages to write, 0 ends */
#define VM_HUGE      0x200000U
#define VM_VCPUS_MAX 2

/* What the guest does. */
enum vm_program {
	VM_COUNT, /* each vCPU counts in its own word, for ever */
	VM_INPUT, /* reads port 0x10 again and again: the device counts, the guest checks that it
		     never skips */
	VM_LIST_WRITER, /* writes the pages of the list, says so on port 0x90, waits for VM_GO to
			   change */
	VM_HALT,        /* one OUT to port 0x90, then HLT */
};

/*
 * The device behind port 0x10: each read has a side effect. Shared by the VMs a guest moves
 * between.
 */
struct port {
	_Atomic uint64_t reads;
	_Atomic uint64_t stop_at; /* read number at which to wait for a kick, 0: never */
	sem_t stopped_there;
};

/* Written on the service thread, read by the test. */
struct vm_log {
	_Atomic unsigned int quiesced, unquiesced, saved, loaded, activated, released, reclaimed,
		retired, discarded, requested;
	_Atomic int fail_quiesce, fail_release, fail_after_load; /* errno to fail with */
};

struct vm_options {
	const char *name;
	enum vm_program program;
	enum migd_guest_role role;
	unsigned int n_vcpus;    /* 0: 1 */
	const char *listen_path; /* else attach_path is DIR/attach */
	const char *dir;
	unsigned int lease_ms;
	struct port *port;
	const struct migd_live *live; /* registered, if there is one */
	const struct migd_guest_device *device; /* the same */
	uint32_t ring_entries; /* make the VM with KVM's dirty rings */
	bool huge;             /* RAM in 2 MiB pages: its lower half in one, its upper half in another */
	bool split_slots;      /* several slots at odd offsets, one block read-only */
	bool stuck;            /* vCPU 0 never comes back to the gate once it did an OUT */
	void (*kick)(void *opaque, unsigned int index, int tid);
};

struct vm_vcpu {
	struct vm *vm;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	struct migd_guest_vcpu *gate;
	pthread_t thread;
	_Atomic unsigned int interrupted; /* -EINTR seen */
	_Atomic int failed;               /* what vcpu_run said, if it was an error */
};

struct vm {
	struct vm_options o;
	struct migd_guest *guest;
	int kvm, fd, ram_fd, rom_fd;
	uint8_t *ram, *rom;
	uint64_t ram_len; /* mapped */
	size_t run_len;
	struct vm_vcpu vcpus[VM_VCPUS_MAX];
	pthread_barrier_t ready;
	bool ending;
	sem_t out; /* posted at each OUT to port 0x90 */
	struct vm_log log;
	int add_failed;
};

/* Exits 77 with a reason where there is no KVM. First thing in a test's main(). */
void vm_need_kvm(void);

/* Exits 77 with a reason where KVM has no dirty ring. */
void vm_need_ring(void);

/* Make, start. Fails the test if it cannot. */
void vm_start(struct vm *vm, const struct vm_options *o);
/* Stop, join, free, close. */
void vm_end(struct vm *vm);

uint32_t vm_counter(const struct vm *vm, unsigned int vcpu);
/* Wait until the counter of VCPU moves. */
void vm_expect_running(struct vm *vm);
/* It does not move for a few milliseconds (a running guest counts tens of thousands meanwhile). */
void vm_expect_frozen(struct vm *vm);

#endif
