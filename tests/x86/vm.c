/* SPDX-License-Identifier: Apache-2.0 */
/* A bare KVM VM for tests of guest/x86. */
#include "tests/x86/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

#define FAIL_PORT 0xf4
#define RUN_LIMIT_NS (60 * NS_PER_SEC)
#define TICK_US 3000

void vm_require_kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0 || ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		fprintf(stderr, "skipped: /dev/kvm cannot be used here: %s\n", strerror(errno));
		exit(77);
	}
	close(kvm);
}

int vm_memory(void)
{
	int fd = fd_memfd("test-guest", VM_MEM_LEN);

	assert_true(fd >= 0);
	return fd;
}

int vm_memfd = -1;

int vm_memory_setup(void **state)
{
	(void)state;
	vm_memfd = vm_memory();
	return 0;
}

int vm_memory_teardown(void **state)
{
	(void)state;
	vm_memfd = close_fd(vm_memfd);
	return 0;
}

static void set_cpuid(struct vm *vm, unsigned int i, const struct vm_options *o)
{
	struct kvm_cpuid2 *t = calloc(1, sizeof(*t) + 256 * sizeof(t->entries[0]));

	assert_non_null(t);
	t->nent = 256;
	assert_int_equal(ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, t), 0);
	for (uint32_t k = 0; k < t->nent; k++)
		if (t->entries[k].function == 1)
			t->entries[k].ebx = (t->entries[k].ebx & 0xffffff) | i << 24;
	if (o->edit_cpuid)
		o->edit_cpuid(t, i);
	assert_int_equal(ioctl(vm->vcpus[i], KVM_SET_CPUID2, t), 0);
	free(t);
}

static void make_chips(struct vm *vm, const struct vm_options *o)
{
	struct kvm_pit_config pit = { 0 };
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

	if (o->split) {
		assert_int_equal(ioctl(vm->fd, KVM_ENABLE_CAP, &split), 0);
	} else if (!o->bare) {
		assert_int_equal(ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), 0);
		assert_int_equal(ioctl(vm->fd, KVM_CREATE_PIT2, &pit), 0);
	}
}

static void make_tables(struct vm *vm, const struct vm_options *o, unsigned int n)
{
	struct guest_tables *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->kvm = (struct migd_guest_kvm){ .size = sizeof(t->kvm), .kvm_fd = vm->kvm, .vm_fd = vm->fd,
					  .irqchip = !o->bare && !o->split, .pit = !o->bare && !o->split,
					  .split_irqchip = o->split };
	t->n_vcpus = n;
	t->vcpus = calloc(n, sizeof(*t->vcpus));
	assert_non_null(t->vcpus);
	for (unsigned int i = 0; i < n; i++)
		t->vcpus[i] = (struct guest_vcpu){ .index = i, .fd = vm->vcpus[i], .run = vm->runs[i] };
	strcpy(t->blocks[0].name, "ram");
	t->blocks[0].len = VM_MEM_LEN;
	t->blocks[0].page_size = 4096;
	t->n_blocks = 1;
	t->slots[0] = (struct ram_slot){ .len = VM_MEM_LEN };
	t->n_slots = 1;
	vm->tables = t;
}

void vm_open(struct vm *vm, int memfd, const struct vm_options *o)
{
	static const struct vm_options none;
	unsigned int n = o && o->n_vcpus ? o->n_vcpus : 1;
	struct kvm_userspace_memory_region slot = { .memory_size = VM_MEM_LEN };
	struct merr err = MERR_INIT;

	o = o ? o : &none;
	*vm = (struct vm){ .kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC) };
	assert_true(vm->kvm >= 0);
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	assert_true(vm->fd >= 0);
	make_chips(vm, o);
	vm->mem = mmap(NULL, VM_MEM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	assert_ptr_not_equal(vm->mem, MAP_FAILED);
	slot.userspace_addr = (uintptr_t)vm->mem;
	assert_int_equal(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	vm->run_len = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	for (unsigned int i = 0; i < n; i++) {
		vm->vcpus[i] = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)i);
		assert_true(vm->vcpus[i] >= 0);
		set_cpuid(vm, i, o);
		vm->runs[i] = mmap(NULL, (size_t)vm->run_len, PROT_READ | PROT_WRITE, MAP_SHARED,
				   vm->vcpus[i], 0);
		assert_ptr_not_equal(vm->runs[i], MAP_FAILED);
	}
	make_tables(vm, o, n);
	if (arch_state_new(vm->tables, &vm->arch, &err) < 0)
		fail_msg("arch_state_new: %s", err.msg);
}

void vm_close(struct vm *vm)
{
	vm->arch = arch_state_free(vm->arch);
	for (size_t i = 0; i < vm->tables->n_vcpus; i++) {
		munmap(vm->runs[i], (size_t)vm->run_len);
		close(vm->vcpus[i]);
	}
	munmap(vm->mem, VM_MEM_LEN);
	close(vm->fd);
	close(vm->kvm);
	free(vm->tables->vcpus);
	free(vm->tables);
}

void vm_save(struct vm *vm, struct buf *out)
{
	struct buf vmdesc = { 0 };
	struct merr err = MERR_INIT;
	uint32_t n = 0;

	if (arch_clock_stopped(vm->arch, &err) < 0 ||
	    guest_state_save(vm->arch, vm->tables, 3, out, &vmdesc, &n, &err) < 0)
		fail_msg("saving: %s", err.msg);
	assert_int_equal(n, vm->tables->n_vcpus + 1);
	buf_done(&vmdesc);
}

int vm_load(struct vm *vm, const struct buf *in, struct merr *err)
{
	return guest_state_load(vm->arch, vm->tables, in->data, in->len, err);
}

void vm_hop(struct vm *vm, int memfd, const struct vm_options *o)
{
	struct merr err = MERR_INIT;
	struct buf state = { 0 };

	vm_save(vm, &state);
	vm_close(vm);
	vm_open(vm, memfd, o);
	if (vm_load(vm, &state, &err) < 0 || arch_clock_resume(vm->arch, true, &err) < 0)
		fail_msg("loading: %s", err.msg);
	assert_string_equal(guest_state_notes(vm->arch), "");
	buf_done(&state);
}

static struct kvm_run *volatile ticked;

static void on_tick(int sig)
{
	(void)sig;
	if (ticked)
		ticked->immediate_exit = 1;
}

static void tick_every(suseconds_t us)
{
	struct itimerval t = { .it_interval.tv_usec = us, .it_value.tv_usec = us };

	assert_int_equal(setitimer(ITIMER_REAL, &t, NULL), 0);
}

static void handle_exit(const struct kvm_run *run)
{
	const uint8_t *data = (const uint8_t *)run + run->io.data_offset;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.direction == KVM_EXIT_IO_OUT && run->io.port == FAIL_PORT)
			fail_msg("the guest found check %u wrong", *data);
		break;
	case KVM_EXIT_INTR:
		break;
	default:
		fail_msg("exit %u (suberror %u)", run->exit_reason, run->internal.suberror);
	}
}

bool vm_run_until(struct vm *vm, bool (*done)(const struct vm *vm))
{
	struct sigaction sa = { .sa_handler = on_tick };
	uint64_t deadline = clock_now_ns() + RUN_LIMIT_NS;
	bool is_done = false;

	ticked = vm->runs[0];
	assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
	tick_every(TICK_US);
	while (!is_done && clock_now_ns() < deadline) {
		if (ioctl(vm->vcpus[0], KVM_RUN, 0) == 0) {
			handle_exit(vm->runs[0]);
			continue;
		}
		assert_int_equal(errno, EINTR);
		vm->runs[0]->immediate_exit = 0;
		is_done = done(vm);
	}
	tick_every(0);
	/* Whatever I/O the last exit was for is finished before the state is read. */
	vm->runs[0]->immediate_exit = 1;
	assert_int_equal(ioctl(vm->vcpus[0], KVM_RUN, 0), -1);
	assert_int_equal(errno, EINTR);
	vm->runs[0]->immediate_exit = 0;
	ticked = NULL;
	return is_done;
}
