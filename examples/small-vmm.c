/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As small as a VMM can be whose guest migrates: one vCPU, 1 MiB of memory, and a guest that counts in it. Every
 * second it prints how far the guest is.
 *
 *     cc small-vmm.c $(pkg-config --cflags --libs migd-guest) -pthread -o small-vmm
 *     small-vmm NAME ATTACH_SOCKET             runs the guest, until it has moved elsewhere
 *     small-vmm NAME ATTACH_SOCKET incoming    waits for it, then the same
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <migd/guest.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY (1u << 20)
#define CODE 0x1000
#define COUNTER 0x8000

/* 16-bit code: inc dword [0x8000]; jmp back. */
static const unsigned char code[] = { 0x66, 0xff, 0x06, 0x00, 0x80, 0xeb, 0xf9 };

struct vmm {
	int kvm, vm, vcpu, memory_fd;
	unsigned char *memory;
	struct kvm_run *run;
	struct migd_guest *guest;
	pthread_barrier_t ready, started;
};

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, *migd_guest_error() ? migd_guest_error() : strerror(errno));
	exit(1);
}

static void make_memory(struct vmm *v)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY };

	/* A memfd, mapped shared: migd's worker sends it from there. */
	v->memory_fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	check(v->memory_fd, "memfd_create");
	check(ftruncate(v->memory_fd, MEMORY), "ftruncate");
	v->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, v->memory_fd, 0);
	check(v->memory == MAP_FAILED ? -1 : 0, "mmap");
	region.userspace_addr = (uintptr_t)v->memory;
	check(ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void make_vcpu(struct vmm *v)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };

	v->vcpu = ioctl(v->vm, KVM_CREATE_VCPU, 0);
	check(v->vcpu, "KVM_CREATE_VCPU");
	check(ioctl(v->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
	check(ioctl(v->vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
	v->run = mmap(NULL, (size_t)ioctl(v->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, v->vcpu, 0);
	check(v->run == MAP_FAILED ? -1 : 0, "mmap");
}

static void make_machine(struct vmm *v)
{
	v->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	check(v->kvm, "/dev/kvm");
	v->vm = ioctl(v->kvm, KVM_CREATE_VM, 0);
	check(v->vm, "KVM_CREATE_VM");
	make_memory(v);
	make_vcpu(v);
}

/* Where the guest begins. One that arrives brings its own. */
static void power_on(struct vmm *v)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };

	check(ioctl(v->vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = sregs.cs.selector = 0;
	check(ioctl(v->vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(v->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	memcpy(v->memory + CODE, code, sizeof(code));
}

static void describe(struct vmm *v, const char *name, const char *attach_path, bool incoming)
{
	struct migd_guest_options options = {
		.size = sizeof(options), .name = name, .attach_path = attach_path,
		.role = incoming ? MIGD_GUEST_INCOMING : MIGD_GUEST_RUNNING,
	};
	struct migd_guest_kvm kvm = { .size = sizeof(kvm), .kvm_fd = v->kvm, .vm_fd = v->vm };
	struct migd_guest_ram ram = {
		.size = sizeof(ram), .name = "ram", .host = v->memory, .len = MEMORY, .fd = v->memory_fd,
	};
	int block;

	check(migd_guest_new(&options, &v->guest), "migd_guest_new");
	check(migd_guest_set_kvm(v->guest, &kvm), "migd_guest_set_kvm");
	block = migd_guest_add_ram(v->guest, &ram);
	check(block, "migd_guest_add_ram");
	check(migd_guest_add_ram_slot(v->guest, (unsigned int)block, 0, 0, 0, MEMORY), "migd_guest_add_ram_slot");
}

static void *vcpu_thread(void *opaque)
{
	struct vmm *v = opaque;
	struct migd_guest_vcpu *vcpu;
	int r;

	check(migd_guest_add_vcpu(v->guest, 0, v->vcpu, v->run, &vcpu), "migd_guest_add_vcpu");
	pthread_barrier_wait(&v->ready);
	pthread_barrier_wait(&v->started);
	while ((r = migd_guest_vcpu_run(vcpu)) != -ECANCELED) {
		if (r == -EINTR)
			continue;
		fprintf(stderr, "the guest cannot go on: %d, exit reason %u\n", r, v->run->exit_reason);
		migd_guest_notify(v->guest, MIGD_GUEST_EVENT_PANIC);
	}
	return NULL;
}

static void print_count(const struct vmm *v)
{
	uint32_t count;

	memcpy(&count, v->memory + COUNTER, sizeof(count));
	printf("count %u\n", count);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bool incoming = argc == 4 && !strcmp(argv[3], "incoming");
	struct vmm v = { .kvm = -1 };
	pthread_t thread;
	int r;

	if (argc != 3 && !incoming) {
		fprintf(stderr, "usage: %s NAME ATTACH_SOCKET [incoming]\n", argv[0]);
		return 2;
	}
	make_machine(&v);
	if (!incoming)
		power_on(&v);
	describe(&v, argv[1], argv[2], incoming);
	pthread_barrier_init(&v.ready, NULL, 2);
	pthread_barrier_init(&v.started, NULL, 2);
	pthread_create(&thread, NULL, vcpu_thread, &v);
	pthread_barrier_wait(&v.ready);
	check(migd_guest_start(v.guest), "migd_guest_start");
	pthread_barrier_wait(&v.started);

	while ((r = migd_guest_wait_active(v.guest, 1000)) == -ETIMEDOUT)
		;
	if (r == 0)
		while ((r = migd_guest_wait_gone(v.guest, 1000)) == -ETIMEDOUT)
			print_count(&v);
	printf("%s\n", r == 0 ? "moved elsewhere" : "will not arrive");
	migd_guest_stop(v.guest);
	pthread_join(thread, NULL);
	migd_guest_free(v.guest);
	return r == 0 ? 0 : 1;
}
