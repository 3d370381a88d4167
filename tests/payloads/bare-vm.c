/* SPDX-License-Identifier: Apache-2.0 */
/* The least machine that a payload runs on, straight on /dev/kvm. */
#include "bare-vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bare-disk.h"
#include "vmm/payload.h"

#define MAX_VCPUS           2
#define KICK_SIGNAL         SIGUSR1
#define KERNEL_SIGSET_BYTES 8
#define SERIAL_BYTES        4096
#define DEADLINE_SECONDS    30

/* Page tables: one PML4, one page of 1 GiB entries, four of 2 MiB entries. */
#define PML4_GPA             PAYLOAD_BOOT_GPA
#define PDPT_GPA             (PAYLOAD_BOOT_GPA + 0x1000)
#define PD_GPA               (PAYLOAD_BOOT_GPA + 0x2000)
#define PTE_PRESENT_WRITABLE 0x3
#define PTE_LARGE            0x80

struct bare_vcpu {
	struct bare_vm *vm;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool has_thread;
	bool is_stuck; /* by its own thread: it had an exit that it does not come back from */
	struct kvm_sregs first_sregs;
	struct kvm_lapic_state first_lapic;
};

struct bare_vm {
	int kvm_fd, vm_fd;
	uint8_t *memory;
	size_t run_bytes;
	unsigned int n_vcpus;
	struct bare_vcpu vcpus[MAX_VCPUS];
	struct payload_param param;
	const uint8_t *image;
	size_t image_bytes;
	struct bare_disk *disk;
	_Atomic unsigned int counts[BARE_N_EVENTS];
	_Atomic unsigned int exit_status;
	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t changed;
	bool is_ending;
	bool is_paused;
	unsigned int n_parked;
	char serial[SERIAL_BYTES]; /* terminated at all times */
	size_t serial_len;
};

/* clang-format off: a row each */
static const char *const event_names[] = {
	[BARE_RESETS] = "resets",       [BARE_SHUTDOWNS] = "shutdowns",
	[BARE_POWEROFFS] = "poweroffs", [BARE_EXITS] = "exits",
	[BARE_SLEEPS] = "sleeps",       [BARE_INTERNAL_ERRORS] = "internal errors",
};
/* clang-format on */
_Static_assert(sizeof(event_names) / sizeof(event_names[0]) == BARE_N_EVENTS,
	       "a name for each event");

bool bare_vm_is_possible(const char **ret_reason)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		*ret_reason = strerror(errno);
		return false;
	}
	close(fd);
	return true;
}

static int vm_ioctl(int fd, unsigned long request, const char *name, void *arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0)
		fail_msg("%s: %s", name, strerror(errno));
	return ret;
}
#define VM_IOCTL(fd, request, arg) vm_ioctl((fd), (request), #request, (void *)(uintptr_t)(arg))

static void write_page_tables(struct bare_vm *vm)
{
	uint64_t *pml4 = bare_vm_memory(vm, PML4_GPA);
	uint64_t *pdpt = bare_vm_memory(vm, PDPT_GPA);
	uint64_t *pd = bare_vm_memory(vm, PD_GPA);

	pml4[0] = PDPT_GPA | PTE_PRESENT_WRITABLE;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (PD_GPA + i * 4096) | PTE_PRESENT_WRITABLE;
	for (uint64_t i = 0; i < 2048; i++)
		pd[i] = i << 21 | PTE_LARGE | PTE_PRESENT_WRITABLE;
}

static void load_image(struct bare_vm *vm)
{
	write_page_tables(vm);
	memcpy(bare_vm_memory(vm, PAYLOAD_LOAD_GPA), vm->image, vm->image_bytes);
	memcpy(bare_vm_memory(vm, PAYLOAD_PARAM_GPA), &vm->param, sizeof(vm->param));
}

static void enter_long_mode(struct kvm_sregs *s)
{
	struct kvm_segment code = { .limit = 0xffffffff,
				    .selector = 0x08,
				    .type = 0xb,
				    .present = 1,
				    .s = 1,
				    .l = 1,
				    .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff,
				    .selector = 0x10,
				    .type = 0x3,
				    .present = 1,
				    .s = 1,
				    .db = 1,
				    .g = 1 };

	s->cs = code;
	s->ds = s->es = s->ss = s->fs = s->gs = data;
	s->tr = (struct kvm_segment){ .limit = 0x67, .type = 0xb, .present = 1 };
	s->ldt = (struct kvm_segment){ .type = 0x2, .present = 1 };
	s->idt = (struct kvm_dtable){ 0 };
	s->gdt = (struct kvm_dtable){ 0 };
	s->cr0 = 0x80050033; /* PG, AM, WP, NE, ET, MP, PE */
	s->cr3 = PML4_GPA;
	s->cr4 = 0x620;  /* OSXMMEXCPT, OSFXSR, PAE */
	s->efer = 0xd00; /* NXE, LMA, LME */
}

static void set_first_state(struct bare_vcpu *v)
{
	struct kvm_regs regs = { .rip = PAYLOAD_LOAD_GPA,
				 .rdi = v->index,
				 .rsi = PAYLOAD_PARAM_GPA,
				 .rsp = PAYLOAD_STACK_TOP(v->index),
				 .rflags = 2 };
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };

	VM_IOCTL(v->fd, KVM_SET_SREGS, &v->first_sregs);
	VM_IOCTL(v->fd, KVM_SET_REGS, &regs);
	VM_IOCTL(v->fd, KVM_SET_LAPIC, &v->first_lapic);
	VM_IOCTL(v->fd, KVM_SET_MP_STATE, &runnable);
}

static void set_cpuid(struct bare_vcpu *v)
{
	const unsigned int n_max = 256;
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + n_max * sizeof(cpuid->entries[0]));

	assert_non_null(cpuid);
	cpuid->nent = n_max;
	VM_IOCTL(v->vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
	VM_IOCTL(v->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

static void add_vcpu(struct bare_vm *vm, unsigned int index)
{
	struct bare_vcpu *v = &vm->vcpus[index];

	v->vm = vm;
	v->index = index;
	v->fd = VM_IOCTL(vm->vm_fd, KVM_CREATE_VCPU, index);
	v->run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	assert_ptr_not_equal(v->run, MAP_FAILED);
	set_cpuid(v);
	VM_IOCTL(v->fd, KVM_GET_SREGS, &v->first_sregs);
	VM_IOCTL(v->fd, KVM_GET_LAPIC, &v->first_lapic);
	enter_long_mode(&v->first_sregs);
	set_first_state(v);
}

static void add_memory(struct bare_vm *vm)
{
	struct kvm_userspace_memory_region region = { .memory_size = BARE_MEMORY_BYTES };

	vm->memory = mmap(NULL, BARE_MEMORY_BYTES, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(vm->memory, MAP_FAILED);
	region.userspace_addr = (uint64_t)(uintptr_t)vm->memory;
	VM_IOCTL(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

struct bare_vm *bare_vm_new(const char *payload, unsigned int n_vcpus,
			    const struct payload_param *param)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct bare_vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	assert_in_range(n_vcpus, 1, MAX_VCPUS);
	assert_int_equal(payload_find(payload, &vm->image, &vm->image_bytes), 0);
	assert_true(vm->image_bytes <= PAYLOAD_IMAGE_MAX);
	vm->n_vcpus = n_vcpus;
	vm->param = *param;
	vm->param.magic = PAYLOAD_MAGIC;
	vm->param.n_vcpus = n_vcpus;
	vm->param.memory_bytes = BARE_MEMORY_BYTES;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	vm->vm_fd = VM_IOCTL(vm->kvm_fd, KVM_CREATE_VM, 0);
	vm->run_bytes = (size_t)VM_IOCTL(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	VM_IOCTL(vm->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000);
	VM_IOCTL(vm->vm_fd, KVM_CREATE_IRQCHIP, 0);
	VM_IOCTL(vm->vm_fd, KVM_CREATE_PIT2, &pit);
	add_memory(vm);
	load_image(vm);
	for (unsigned int i = 0; i < n_vcpus; i++)
		add_vcpu(vm, i);
	return vm;
}

void bare_vm_add_disk(struct bare_vm *vm, uint64_t size_bytes)
{
	vm->disk = bare_disk_new(vm->vm_fd, vm->memory, BARE_MEMORY_BYTES, size_bytes);
	assert_non_null(vm->disk);
}

void bare_vm_damage_disk(struct bare_vm *vm, uint64_t offset)
{
	bare_vm_pause(vm);
	bare_disk_damage(vm->disk, offset);
	bare_vm_resume(vm);
}

void bare_vm_damage_xmm(struct bare_vm *vm, unsigned int reg)
{
	struct kvm_fpu fpu;

	bare_vm_pause(vm);
	VM_IOCTL(vm->vcpus[0].fd, KVM_GET_FPU, &fpu);
	fpu.xmm[reg][9]++;
	VM_IOCTL(vm->vcpus[0].fd, KVM_SET_FPU, &fpu);
	bare_vm_resume(vm);
}

void bare_vm_set_clock(struct bare_vm *vm, uint64_t ns)
{
	struct kvm_clock_data clock = { .clock = ns };

	bare_vm_pause(vm);
	VM_IOCTL(vm->vm_fd, KVM_SET_CLOCK, &clock);
	bare_vm_resume(vm);
}

static void print_char(struct bare_vm *vm, char c)
{
	pthread_mutex_lock(&vm->lock);
	if (vm->serial_len + 1 < sizeof(vm->serial))
		vm->serial[vm->serial_len++] = c;
	pthread_mutex_unlock(&vm->lock);
}

static void reset_machine(struct bare_vcpu *v)
{
	atomic_fetch_add(&v->vm->counts[BARE_RESETS], 1);
	load_image(v->vm);
	set_first_state(v);
}

/* Whether the vCPU goes on. */
static bool on_port_write(struct bare_vcpu *v, uint16_t port, uint8_t value)
{
	struct bare_vm *vm = v->vm;
	enum bare_event event;

	switch (port) {
	case PAYLOAD_PORT_SERIAL:
		print_char(vm, (char)value);
		return true;
	case PAYLOAD_PORT_RESET:
		if (value == PAYLOAD_RESET_VALUE)
			reset_machine(v);
		return true;
	case PAYLOAD_PORT_SLEEP:
		event = BARE_SLEEPS;
		break;
	case PAYLOAD_PORT_POWEROFF:
		event = BARE_POWEROFFS;
		break;
	case PAYLOAD_PORT_EXIT:
		event = BARE_EXITS;
		atomic_store(&vm->exit_status, value);
		break;
	default:
		return true;
	}
	atomic_fetch_add(&vm->counts[event], 1);
	return event == BARE_SLEEPS;
}

static bool on_port(struct bare_vcpu *v)
{
	uint8_t *data = (uint8_t *)v->run + v->run->io.data_offset;
	uint16_t port = v->run->io.port;

	if (v->run->io.direction == KVM_EXIT_IO_OUT)
		return on_port_write(v, port, *data);
	memset(data, port == PAYLOAD_PORT_SERIAL + 5 ? 0x60 : 0xff,
	       (size_t)v->run->io.size * v->run->io.count);
	return true;
}

static void on_mmio(struct bare_vcpu *v)
{
	uint64_t offset = v->run->mmio.phys_addr - PAYLOAD_VIRTIO_GPA;
	bool is_disk = v->vm->disk && offset < PAYLOAD_VIRTIO_STRIDE;

	if (is_disk && v->run->mmio.is_write)
		bare_disk_write(v->vm->disk, offset, v->run->mmio.data, v->run->mmio.len);
	else if (is_disk)
		bare_disk_read(v->vm->disk, offset, v->run->mmio.data, v->run->mmio.len);
	else if (!v->run->mmio.is_write)
		memset(v->run->mmio.data, 0, sizeof(v->run->mmio.data));
}

static bool handle_exit(struct bare_vcpu *v)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		return on_port(v);
	case KVM_EXIT_MMIO:
		on_mmio(v);
		return true;
	case KVM_EXIT_SHUTDOWN:
		atomic_fetch_add(&v->vm->counts[BARE_SHUTDOWNS], 1);
		return false;
	case KVM_EXIT_INTR:
		return true;
	default:
		fprintf(stderr, "vCPU %u: exit reason %u\n", v->index, v->run->exit_reason);
		atomic_fetch_add(&v->vm->counts[BARE_INTERNAL_ERRORS], 1);
		return false;
	}
}

/* Waits while the vCPU must not run; false when it never will again. */
static bool may_run(struct bare_vcpu *v)
{
	struct bare_vm *vm = v->vm;
	bool is_ending;

	pthread_mutex_lock(&vm->lock);
	while (!vm->is_ending && (vm->is_paused || v->is_stuck)) {
		vm->n_parked++;
		pthread_cond_broadcast(&vm->changed);
		pthread_cond_wait(&vm->changed, &vm->lock);
		vm->n_parked--;
	}
	is_ending = vm->is_ending;
	pthread_mutex_unlock(&vm->lock);
	return !is_ending;
}

/* Whether KVM_RUN ended because of an exit that is to be handled. */
static bool run_once(struct bare_vcpu *v, const sigset_t *kick)
{
	const struct timespec zero = { 0 };

	if (ioctl(v->fd, KVM_RUN, 0) == 0)
		return true;
	if (errno == EINTR) {
		sigtimedwait(kick, NULL, &zero);
	} else if (errno != EAGAIN) {
		fprintf(stderr, "vCPU %u: KVM_RUN: %s\n", v->index, strerror(errno));
		v->is_stuck = true;
	}
	return false;
}

static void *vcpu_thread(void *arg)
{
	struct bare_vcpu *v = arg;
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	while (may_run(v)) {
		if (run_once(v, &kick) && !handle_exit(v))
			v->is_stuck = true;
	}
	return NULL;
}

/*
 * The kick is blocked in the threads and let in by KVM_RUN alone, so that none is lost on the way
 * there.
 */
static void let_kicks_into_run(struct bare_vcpu *v)
{
	/* The kernel's set of signals, which is shorter than libc's. */
	struct kvm_signal_mask *none = calloc(1, sizeof(*none) + KERNEL_SIGSET_BYTES);

	assert_non_null(none);
	none->len = KERNEL_SIGSET_BYTES;
	VM_IOCTL(v->fd, KVM_SET_SIGNAL_MASK, none);
	free(none);
}

void bare_vm_start(struct bare_vm *vm)
{
	sigset_t kick, before;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, &before);
	for (unsigned int i = 0; i < vm->n_vcpus; i++) {
		struct bare_vcpu *v = &vm->vcpus[i];

		let_kicks_into_run(v);
		assert_int_equal(pthread_create(&v->thread, NULL, vcpu_thread, v), 0);
		v->has_thread = true;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Sets one of the flags that may_run() looks at and gets the vCPUs there. */
static void set_flag(struct bare_vm *vm, bool *flag, bool value)
{
	pthread_mutex_lock(&vm->lock);
	*flag = value;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	for (unsigned int i = 0; value && i < vm->n_vcpus; i++) {
		if (vm->vcpus[i].has_thread)
			pthread_kill(vm->vcpus[i].thread, KICK_SIGNAL);
	}
}

void bare_vm_pause(struct bare_vm *vm)
{
	set_flag(vm, &vm->is_paused, true);
	pthread_mutex_lock(&vm->lock);
	while (vm->n_parked < vm->n_vcpus)
		pthread_cond_wait(&vm->changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}

void bare_vm_resume(struct bare_vm *vm)
{
	set_flag(vm, &vm->is_paused, false);
}

void bare_vm_free(struct bare_vm *vm)
{
	if (!vm)
		return;
	set_flag(vm, &vm->is_ending, true);
	for (unsigned int i = 0; i < vm->n_vcpus; i++) {
		if (vm->vcpus[i].has_thread)
			pthread_join(vm->vcpus[i].thread, NULL);
		munmap(vm->vcpus[i].run, vm->run_bytes);
		close(vm->vcpus[i].fd);
	}
	bare_disk_free(vm->disk);
	close(vm->vm_fd);
	close(vm->kvm_fd);
	munmap(vm->memory, BARE_MEMORY_BYTES);
	pthread_mutex_destroy(&vm->lock);
	pthread_cond_destroy(&vm->changed);
	free(vm);
}

volatile struct payload_result *bare_vm_result(struct bare_vm *vm)
{
	return bare_vm_memory(vm, PAYLOAD_RESULT_GPA);
}

void *bare_vm_memory(struct bare_vm *vm, uint64_t gpa)
{
	return vm->memory + gpa;
}

unsigned int bare_vm_count(struct bare_vm *vm, enum bare_event event)
{
	return atomic_load(&vm->counts[event]);
}

unsigned int bare_vm_exit_status(struct bare_vm *vm)
{
	return atomic_load(&vm->exit_status);
}

bool bare_vm_has_printed(struct bare_vm *vm, const char *text)
{
	bool is_there;

	pthread_mutex_lock(&vm->lock);
	is_there = strstr(vm->serial, text) != NULL;
	pthread_mutex_unlock(&vm->lock);
	return is_there;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bare_vm_deadline(void)
{
	return now_ns() + DEADLINE_SECONDS * UINT64_C(1000000000);
}

static void describe(struct bare_vm *vm)
{
	volatile struct payload_result *r = bare_vm_result(vm);

	fprintf(stderr, "status %u, heartbeat %llu, checks %llu, failures %llu, text '%s'\n",
		r->status, (unsigned long long)r->heartbeat, (unsigned long long)r->checks,
		(unsigned long long)r->failures, (const char *)r->text);
	for (unsigned int i = 0; i < 8; i++)
		fprintf(stderr, "detail[%u] %llu\n", i, (unsigned long long)r->detail[i]);
	for (unsigned int i = 0; i < BARE_N_EVENTS; i++)
		fprintf(stderr, "%s: %u\n", event_names[i], bare_vm_count(vm, (enum bare_event)i));
	pthread_mutex_lock(&vm->lock);
	fprintf(stderr, "serial: '%s'\n", vm->serial);
	pthread_mutex_unlock(&vm->lock);
}

void bare_vm_await_step(struct bare_vm *vm, uint64_t deadline_ns, const char *what,
			const char *file, int line)
{
	if (now_ns() > deadline_ns) {
		describe(vm);
		fail_msg("%s:%d: still not after %d s: %s", file, line, DEADLINE_SECONDS, what);
	}
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}
