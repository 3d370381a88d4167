/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny VMM for tests, on real KVM and the public header only. */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/memfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the guest's programs: 16-bit real mode, CS = DS = 0, SI = vCPU * 64 ---- */

#define PROGRAM(name, text)                                                                        \
	__asm__(".pushsection .rodata\n.code16\n" #name ":\n" text "\n" #name                      \
		"_end:\n.code64\n.popsection\n");                                                  \
	extern const uint8_t name[], name##_end[]

PROGRAM(program_count, "1: incl 0x2000(%si)\n"
		       "jmp 1b\n");
/* BL counts what AL must be. */
PROGRAM(program_input, "xor %bx, %bx\n"
		       "1: in $0x10, %al\n"
		       "inc %bl\n"
		       "cmp %al, %bl\n"
		       "jne 2f\n"
		       "incl 0x2000\n"
		       "jmp 1b\n"
		       "2: movb $1, 0x2100\n"
		       "3: jmp 3b\n");
PROGRAM(program_list, "xor %bx, %bx\n"
		      "cld\n"
		      "1: mov $0x3000, %si\n"
		      "2: lodsw\n"
		      "test %ax, %ax\n"
		      "jz 3f\n"
		      "mov %ax, %es\n"
		      "incl %es:0\n"
		      "jmp 2b\n"
		      "3: out %al, $0x90\n"
		      "4: cmp 0x2200, %bx\n"
		      "je 4b\n"
		      "mov 0x2200, %bx\n"
		      "jmp 1b\n");
PROGRAM(program_halt, "out %al, $0x90\n"
		      "1: hlt\n"
		      "jmp 1b\n");

static void load_program(struct vm *vm)
{
	static const struct {
		const uint8_t *from, *to;
	} programs[] = {
		[VM_COUNT] = { program_count, program_count_end },
		[VM_INPUT] = { program_input, program_input_end },
		[VM_LIST_WRITER] = { program_list, program_list_end },
		[VM_HALT] = { program_halt, program_halt_end },
	};
	const uint8_t *from = programs[vm->o.program].from, *to = programs[vm->o.program].to;

	memcpy(vm->ram + VM_CODE, from, (size_t)(to - from));
}

/* ---- hooks ---- */

static int on_quiesce(void *opaque)
{
	struct vm *vm = opaque;

	vm->log.quiesced++;
	return -vm->log.fail_quiesce;
}

static int on_before_save(void *opaque)
{
	((struct vm *)opaque)->log.saved++;
	return 0;
}

static int on_after_load(void *opaque)
{
	struct vm *vm = opaque;

	vm->log.loaded++;
	/* Only mark_dirty, notify and error may be called here. */
	assert_int_equal(migd_guest_wait_active(vm->guest, 0), -EDEADLK);
	return -vm->log.fail_after_load;
}

static int on_release(void *opaque)
{
	struct vm *vm = opaque;

	vm->log.released++;
	return -vm->log.fail_release;
}

static int on_reclaim(void *opaque)
{
	((struct vm *)opaque)->log.reclaimed++;
	return 0;
}

#define COUNTING_HOOK(name, field)                                                                 \
	static void name(void *opaque)                                                             \
	{                                                                                          \
		((struct vm *)opaque)->log.field++;                                                \
	}
COUNTING_HOOK(on_unquiesce, unquiesced)
COUNTING_HOOK(on_activate, activated)
COUNTING_HOOK(on_retire, retired)
COUNTING_HOOK(on_discard, discarded)

static void on_request(void *opaque, enum migd_guest_event what)
{
	(void)what;
	((struct vm *)opaque)->log.requested++;
}

static void on_log(void *opaque, int level, const char *text)
{
	struct vm *vm = opaque;

	if (getenv("VM_LOG"))
		(void)fprintf(stderr, "%s <%d> %s\n", vm->o.name, level, text);
}

/* ---- vCPUs ---- */

static void handle_port(struct vm_vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	struct timespec second = { .tv_sec = 1 };
	struct vm *vm = v->vm;

	if (run->io.direction == KVM_EXIT_IO_OUT) {
		(void)sem_post(&vm->out);
		while (vm->o.stuck && v->index == 0 &&
		       !__atomic_load_n(&vm->ending, __ATOMIC_SEQ_CST))
			(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		return;
	}
	*data = (uint8_t)++vm->o.port->reads;
	if (vm->o.port->reads != vm->o.port->stop_at)
		return;
	/*
	 * Be right here, in the middle of the instruction, when the kick comes: it ends the sleep.
	 */
	(void)sem_post(&vm->o.port->stopped_there);
	while (nanosleep(&second, &second) == 0)
		second = (struct timespec){ .tv_sec = 1 };
}

static void run_vcpu(struct vm_vcpu *v)
{
	int r;

	for (;;) {
		r = migd_guest_vcpu_run(v->gate);
		if (r == -ECANCELED)
			return;
		if (r == -EINTR) {
			v->interrupted++;
			continue;
		}
		if (r < 0) {
			v->failed = r;
			(void)migd_guest_notify(v->vm->guest, MIGD_GUEST_EVENT_PANIC);
			continue;
		}
		if (v->run->exit_reason == KVM_EXIT_IO) {
			handle_port(v);
		} else {
			v->failed = (int)v->run->exit_reason;
			(void)migd_guest_notify(v->vm->guest, MIGD_GUEST_EVENT_PANIC);
		}
	}
}

static void *vcpu_main(void *opaque)
{
	struct vm_vcpu *v = opaque;
	int r = migd_guest_add_vcpu(v->vm->guest, v->index, v->fd, v->run, &v->gate);

	if (r < 0)
		v->vm->add_failed = r;
	(void)pthread_barrier_wait(&v->vm->ready);
	if (r >= 0)
		run_vcpu(v);
	return NULL;
}

static void set_registers(struct vm_vcpu *v)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_regs regs = { .rip = VM_CODE, .rflags = 2, .rsi = v->index * 64 };
	struct kvm_sregs s;

	assert_int_equal(ioctl(v->fd, KVM_GET_SREGS, &s), 0);
	s.cs.base = 0;
	s.cs.selector = 0;
	assert_int_equal(ioctl(v->fd, KVM_SET_SREGS, &s), 0);
	assert_int_equal(ioctl(v->fd, KVM_SET_REGS, &regs), 0);
	assert_int_equal(ioctl(v->fd, KVM_SET_MP_STATE, &mp), 0);
}

static void set_cpuid(struct vm *vm, int fd)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	c->nent = 256;
	assert_int_equal(ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, c), 0);
	assert_int_equal(ioctl(fd, KVM_SET_CPUID2, c), 0);
	free(c);
}

static void make_vcpu(struct vm *vm, unsigned int index)
{
	struct vm_vcpu *v = &vm->vcpus[index];

	v->vm = vm;
	v->index = index;
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
	assert_true(v->fd >= 0);
	v->run = mmap(NULL, vm->run_len, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	assert_true(v->run != MAP_FAILED);
	set_cpuid(vm, v->fd);
	if (vm->o.role == MIGD_GUEST_RUNNING)
		set_registers(v);
}

/* ---- memory ---- */

static void add_slot(struct vm *vm, unsigned int block, uint32_t slot, uint64_t gpa,
		     uint64_t offset, uint64_t len)
{
	uint8_t *host = (block ? vm->rom : vm->ram) + offset;
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = block ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uint64_t)(uintptr_t)host,
	};

	assert_int_equal(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r), 0);
	assert_int_equal(migd_guest_add_ram_slot(vm->guest, block, slot, gpa, offset, len), 0);
}

static int add_block(struct vm *vm, const char *name, uint32_t flags, uint64_t len, unsigned int memfd,
		     uint8_t **ret)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | memfd);
	struct migd_guest_ram ram = {
		.size = sizeof(ram), .name = name, .len = len, .fd = fd, .flags = flags
	};
	uint8_t *p;

	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	ram.host = *ret = p;
	assert_true(migd_guest_add_ram(vm->guest, &ram) >= 0);
	return fd;
}

static void make_memory(struct vm *vm)
{
	vm->ram_len = vm->o.huge ? 2 * VM_HUGE : VM_RAM_LEN;
	vm->ram_fd = add_block(vm, "ram", 0, vm->ram_len, vm->o.huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0, &vm->ram);
	vm->rom_fd = -1;
	if (vm->o.huge) {
		add_slot(vm, 0, 0, 0, 0, VM_RAM_LEN / 2);
		add_slot(vm, 0, 1, VM_RAM_LEN / 2, VM_HUGE, VM_RAM_LEN / 2);
		return;
	}
	if (!vm->o.split_slots) {
		add_slot(vm, 0, 0, 0, 0, VM_RAM_LEN);
		return;
	}
	/* Slots that begin off the bitmaps' words, of lengths that are no multiple of 64 pages. */
	vm->rom_fd = add_block(vm, "rom", MIGD_GUEST_RAM_READONLY, 3 * VM_PAGE, 0, &vm->rom);
	add_slot(vm, 0, 0, 0, 0, 5 * VM_PAGE);
	add_slot(vm, 0, 7, 5 * VM_PAGE, 5 * VM_PAGE, 100 * VM_PAGE);
	add_slot(vm, 0, 3, 105 * VM_PAGE, 105 * VM_PAGE, VM_RAM_LEN - 105 * VM_PAGE);
	add_slot(vm, 1, 4, 0xff000000U, 0, 3 * VM_PAGE);
}

/* ---- life ---- */

void vm_need_kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0) {
		(void)printf("SKIP: /dev/kvm cannot be opened: %s\n", strerror(errno));
		exit(77);
	}
	(void)close(kvm);
}

void vm_need_ring(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int have = ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);

	(void)close(vm);
	(void)close(kvm);
	if (have <= 0) {
		(void)printf("SKIP: KVM has no KVM_CAP_DIRTY_LOG_RING\n");
		exit(77);
	}
}

static void make_guest(struct vm *vm)
{
	struct migd_guest_hooks hooks = {
		.size = sizeof(hooks),
		.quiesce = on_quiesce,
		.unquiesce = on_unquiesce,
		.before_save = on_before_save,
		.after_load = on_after_load,
		.activate = on_activate,
		.release = on_release,
		.reclaim = on_reclaim,
		.retire = on_retire,
		.discard = on_discard,
		.kick = vm->o.kick,
		.log = on_log,
		.request = on_request,
	};
	char path[200];
	struct migd_guest_options options = {
		.size = sizeof(options),
		.name = vm->o.name,
		.role = vm->o.role,
		.attach_path = vm->o.listen_path ? NULL : path,
		.listen_path = vm->o.listen_path,
		.lease_ms = vm->o.lease_ms,
		.hooks = &hooks,
		.opaque = vm,
	};

	(void)snprintf(path, sizeof(path), "%s/attach", vm->o.dir ? vm->o.dir : "");
	if (migd_guest_new(&options, &vm->guest) < 0)
		fail_msg("migd_guest_new: %s", migd_guest_error());
}

static void make_vm(struct vm *vm)
{
	struct migd_guest_kvm kvm = { .size = sizeof(kvm), .irqchip = true };

	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	assert_true(vm->kvm >= 0);
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	assert_true(vm->fd >= 0);
	assert_int_equal(ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000), 0);
	assert_int_equal(ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), 0);
	kvm.dirty_ring_entries = vm->o.ring_entries;
	if (vm->o.ring_entries) {
		struct kvm_enable_cap cap = {
			.cap = KVM_CAP_DIRTY_LOG_RING,
			.args = { vm->o.ring_entries * sizeof(struct kvm_dirty_gfn) },
		};

		assert_int_equal(ioctl(vm->fd, KVM_ENABLE_CAP, &cap), 0);
	}
	vm->run_len = (size_t)ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	kvm.kvm_fd = vm->kvm;
	kvm.vm_fd = vm->fd;
	if (migd_guest_set_kvm(vm->guest, &kvm) < 0)
		fail_msg("migd_guest_set_kvm: %s", migd_guest_error());
}

void vm_start(struct vm *vm, const struct vm_options *o)
{
	memset(vm, 0, sizeof(*vm));
	vm->o = *o;
	if (!vm->o.n_vcpus)
		vm->o.n_vcpus = 1;
	(void)sem_init(&vm->out, 0, 0);
	(void)pthread_barrier_init(&vm->ready, NULL, vm->o.n_vcpus + 1);
	make_guest(vm);
	make_vm(vm);
	make_memory(vm);
	if (o->role == MIGD_GUEST_RUNNING)
		load_program(vm);
	for (unsigned int i = 0; i < vm->o.n_vcpus; i++) {
		make_vcpu(vm, i);
		assert_int_equal(
			pthread_create(&vm->vcpus[i].thread, NULL, vcpu_main, &vm->vcpus[i]), 0);
	}
	(void)pthread_barrier_wait(&vm->ready);
	assert_int_equal(vm->add_failed, 0);
	if (vm->o.live)
		assert_int_equal(migd_guest_add_live(vm->guest, vm->o.live), 0);
	if (vm->o.device)
		assert_int_equal(migd_guest_register_device(vm->guest, vm->o.device), 0);
	if (migd_guest_start(vm->guest) < 0)
		fail_msg("migd_guest_start: %s", migd_guest_error());
}

void vm_end(struct vm *vm)
{
	if (!vm->guest)
		return;
	__atomic_store_n(&vm->ending, true, __ATOMIC_SEQ_CST);
	migd_guest_stop(vm->guest);
	for (unsigned int i = 0; i < vm->o.n_vcpus; i++)
		(void)pthread_join(vm->vcpus[i].thread, NULL);
	migd_guest_free(vm->guest);
	for (unsigned int i = 0; i < vm->o.n_vcpus; i++) {
		(void)munmap(vm->vcpus[i].run, vm->run_len);
		(void)close(vm->vcpus[i].fd);
	}
	(void)close(vm->fd);
	(void)close(vm->kvm);
	(void)munmap(vm->ram, vm->ram_len);
	(void)close(vm->ram_fd);
	if (vm->rom) {
		(void)munmap(vm->rom, 3 * VM_PAGE);
		(void)close(vm->rom_fd);
	}
	(void)sem_destroy(&vm->out);
	(void)pthread_barrier_destroy(&vm->ready);
	memset(vm, 0, sizeof(*vm));
}

uint32_t vm_counter(const struct vm *vm, unsigned int vcpu)
{
	return __atomic_load_n((const uint32_t *)(const void *)(vm->ram + VM_COUNTER + 64 * vcpu),
			       __ATOMIC_RELAXED);
}

void vm_expect_running(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->o.n_vcpus; i++) {
		uint32_t before = vm_counter(vm, i);

		for (int ms = 0; vm_counter(vm, i) == before; ms++) {
			if (ms == 20000)
				fail_msg("vCPU %u does not run", i);
			(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		}
	}
}

void vm_expect_frozen(struct vm *vm)
{
	uint32_t before[VM_VCPUS_MAX];

	for (unsigned int i = 0; i < vm->o.n_vcpus; i++)
		before[i] = vm_counter(vm, i);
	(void)nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	for (unsigned int i = 0; i < vm->o.n_vcpus; i++)
		if (vm_counter(vm, i) != before[i])
			fail_msg("vCPU %u runs, and may not", i);
}
