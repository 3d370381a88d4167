/* SPDX-License-Identifier: Apache-2.0 */
/* Self-checking guests, in real mode and in long mode, hop through 20 VMs and notice nothing. */
/* LIBS: migd_guest migd_base */
/* SOURCES: vm.c */
/* LABELS: kvm */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "tests/x86/vm.h"

#define HOPS 20

/* Where the guests count, in their memory. */
#define COUNTERS 0x500
struct counters {
	uint32_t loops, pit, lapic, halts;
};

#define CODE16 0x1000
#define CODE64 0x2000
#define PML4 0x10000
#define IDT 0x14000
#define STACK 0x9000
#define PIT_VECTOR 0x20
#define LAPIC_VECTOR 0x30

/*
 * Real mode, x2APIC. EBX counts and EDI is its complement; memory holds EBX too. Each 4096 rounds HLT. Check 1: the registers;
 * check 2: memory and register.
 */
__asm__(".pushsection .rodata\n"
	".code16\n"
	"guest16_start:\n"
	"	cli\n"
	"	xorw %ax, %ax; movw %ax, %ds; movw %ax, %ss; movw $0x9000, %sp\n"
	"	movw $(guest16_pit - guest16_start + 0x1000), (0x20*4); movw %ax, (0x20*4+2)\n"
	"	movw $(guest16_lapic - guest16_start + 0x1000), (0x30*4); movw %ax, (0x30*4+2)\n"
	/* The PICs: vectors 0x20 and 0x28, only IRQ 0. */
	"	movb $0x11, %al; outb %al, $0x20; movb $0x20, %al; outb %al, $0x21\n"
	"	movb $0x04, %al; outb %al, $0x21; movb $0x01, %al; outb %al, $0x21\n"
	"	movb $0xfe, %al; outb %al, $0x21\n"
	/* The PIT's channel 0: mode 2, 1 kHz. */
	"	movb $0x34, %al; outb %al, $0x43; movb $0xa9, %al; outb %al, $0x40; movb $0x04, %al; outb %al, $0x40\n"
	/* x2APIC on, LINT0 as ExtINT, periodic timer. */
	"	movl $0x1b, %ecx; rdmsr; orl $0xc00, %eax; wrmsr\n"
	"	xorl %edx, %edx\n"
	"	movl $0x80f, %ecx; movl $0x1ff, %eax; wrmsr\n"
	"	movl $0x835, %ecx; movl $0x700, %eax; wrmsr\n"
	"	movl $0x83e, %ecx; movl $0xb, %eax; wrmsr\n"
	"	movl $0x832, %ecx; movl $0x20030, %eax; wrmsr\n"
	"	movl $0x838, %ecx; movl $1000000, %eax; wrmsr\n"
	"	xorl %ebx, %ebx; movl $-1, %edi\n"
	"	sti\n"
	"1:	incl %ebx; decl %edi\n"
	"	incl 0x500\n"
	"	movl %ebx, %eax; notl %eax; cmpl %eax, %edi; jne 3f\n"
	"	cmpl 0x500, %ebx; jne 4f\n"
	"	testl $0xfff, %ebx; jnz 1b\n"
	"	movb %bl, %al; outb %al, $0x10; inb $0x11, %al\n"
	"	hlt\n"
	"	incl 0x50c\n"
	"	jmp 1b\n"
	"3:	movb $1, %al; outb %al, $0xf4; jmp 3b\n"
	"4:	movb $2, %al; outb %al, $0xf4; jmp 4b\n"
	"guest16_pit:\n"
	"	pushw %ax; incl 0x504; movb $0x20, %al; outb %al, $0x20; popw %ax; iretw\n"
	"guest16_lapic:\n"
	"	pushl %eax; pushl %ecx; pushl %edx\n"
	"	incl 0x508\n"
	"	xorl %eax, %eax; xorl %edx, %edx; movl $0x80b, %ecx; wrmsr\n"
	"	popl %edx; popl %ecx; popl %eax; iretw\n"
	"guest16_end:\n"
	".code64\n"
	".popsection\n");
extern const uint8_t guest16_start[], guest16_end[];

/*
 * Long mode, xAPIC by MMIO. R8 to R15 hold a pattern that is turned each round; XMM0 and XMM1 hold one that is stored and
 * compared. Checks: 1 registers, 2 memory, 3 XMM.
 */
__asm__(".pushsection .rodata\n"
	".code64\n"
	"guest64_start:\n"
	"	movb $0x11, %al; outb %al, $0x20; movb $0x20, %al; outb %al, $0x21\n"
	"	movb $0x04, %al; outb %al, $0x21; movb $0x01, %al; outb %al, $0x21\n"
	"	movb $0xfe, %al; outb %al, $0x21\n"
	"	movb $0x34, %al; outb %al, $0x43; movb $0xa9, %al; outb %al, $0x40; movb $0x04, %al; outb %al, $0x40\n"
	"	movl $0xfee00000, %esi\n"
	"	movl $0x1ff, 0xf0(%rsi); movl $0x700, 0x350(%rsi); movl $0xb, 0x3e0(%rsi)\n"
	"	movl $0x20030, 0x320(%rsi); movl $1000000, 0x380(%rsi)\n"
	"	movabsq $0x0123456789abcdef, %r8; movq %r8, %r9; movq %r8, %r10; movq %r8, %r11\n"
	"	movq %r8, %r12; movq %r8, %r13; movq %r8, %r14; movq %r8, %r15\n"
	"	movaps 0x600, %xmm0; movaps 0x610, %xmm1\n"
	"	xorl %ebx, %ebx\n"
	"	sti\n"
	"1:	incl %ebx; incl 0x500\n"
	"	rolq $1, %r8; rolq $1, %r9; rolq $1, %r10; rolq $1, %r11\n"
	"	rolq $1, %r12; rolq $1, %r13; rolq $1, %r14; rolq $1, %r15\n"
	"	cmpq %r8, %r9; jne 2f; cmpq %r10, %r11; jne 2f; cmpq %r12, %r13; jne 2f\n"
	"	cmpq %r14, %r15; jne 2f; cmpq %r8, %r15; jne 2f; cmpq %r10, %r12; jne 2f; cmpq %r8, %r10; jne 2f\n"
	"	cmpl 0x500, %ebx; jne 3f\n"
	"	movaps %xmm0, 0x620; movaps %xmm1, 0x630\n"
	"	movq 0x600, %rax; cmpq 0x620, %rax; jne 4f; movq 0x608, %rax; cmpq 0x628, %rax; jne 4f\n"
	"	movq 0x610, %rax; cmpq 0x630, %rax; jne 4f; movq 0x618, %rax; cmpq 0x638, %rax; jne 4f\n"
	"	testl $0xfff, %ebx; jnz 1b\n"
	"	movb %bl, %al; outb %al, $0x10; inb $0x11, %al\n"
	"	hlt\n"
	"	incl 0x50c\n"
	"	jmp 1b\n"
	"2:	movb $1, %al; outb %al, $0xf4; jmp 2b\n"
	"3:	movb $2, %al; outb %al, $0xf4; jmp 3b\n"
	"4:	movb $3, %al; outb %al, $0xf4; jmp 4b\n"
	"guest64_pit:\n"
	"	pushq %rax; incl 0x504; movb $0x20, %al; outb %al, $0x20; popq %rax; iretq\n"
	"guest64_lapic:\n"
	"	incl 0x508\n"
	"	movl $0, 0xb0(%rsi); iretq\n"
	"guest64_end:\n"
	".popsection\n");
extern const uint8_t guest64_start[], guest64_end[], guest64_pit[], guest64_lapic[];

static const struct counters *counters(const struct vm *vm)
{
	return (const struct counters *)(vm->mem + COUNTERS);
}

static struct counters at_hop;

/* Everything moved since the last hop: rounds, both timers, and halts. */
static bool all_moved(const struct vm *vm)
{
	const struct counters *c = counters(vm);

	return c->loops != at_hop.loops && c->pit != at_hop.pit && c->lapic != at_hop.lapic &&
	       c->halts != at_hop.halts;
}

static void hop_20_times(struct vm *vm, int memfd)
{
	for (int i = 0; i < HOPS; i++) {
		at_hop = *counters(vm);
		if (!vm_run_until(vm, all_moved))
			fail_msg("after hop %d: loops %u, PIT %u, LAPIC %u, halts %u; before: %u, %u, %u, %u", i,
				 counters(vm)->loops, counters(vm)->pit, counters(vm)->lapic,
				 counters(vm)->halts, at_hop.loops, at_hop.pit, at_hop.lapic, at_hop.halts);
		vm_hop(vm, memfd, NULL);
	}
}

static void enter_real_mode(struct vm *vm)
{
	struct kvm_regs regs = { .rip = CODE16, .rflags = 2 };
	struct kvm_sregs sregs;

	memcpy(vm->mem + CODE16, guest16_start, (size_t)(guest16_end - guest16_start));
	assert_int_equal(ioctl(vm->vcpus[0], KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	assert_int_equal(ioctl(vm->vcpus[0], KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(ioctl(vm->vcpus[0], KVM_SET_REGS, &regs), 0);
}

static void a_real_mode_guest_with_x2apic(void **state)
{
	int memfd = vm_memory();
	struct vm vm;

	(void)state;
	vm_open(&vm, memfd, NULL);
	enter_real_mode(&vm);
	hop_20_times(&vm, memfd);
	vm_close(&vm);
	close(memfd);
}

/*
 * KVM's clock is stable, and read with the wall clock, only while all vCPUs' TSCs match: what the first VM had
 * after it ran, the second must have.
 */
static void two_vcpus_keep_a_stable_clock(void **state)
{
	static const struct vm_options two = { .n_vcpus = 2 };
	struct kvm_clock_data before = { 0 }, after = { 0 };
	int memfd = vm_memory();
	struct vm vm;

	(void)state;
	vm_open(&vm, memfd, &two);
	enter_real_mode(&vm);
	at_hop = *counters(&vm);
	assert_true(vm_run_until(&vm, all_moved));
	assert_int_equal(ioctl(vm.fd, KVM_GET_CLOCK, &before), 0);
	vm_hop(&vm, memfd, &two);
	at_hop = *counters(&vm);
	assert_true(vm_run_until(&vm, all_moved));
	assert_int_equal(ioctl(vm.fd, KVM_GET_CLOCK, &after), 0);
	print_message("clock flags 0x%x, then 0x%x\n", before.flags, after.flags);
	assert_int_equal(after.flags & before.flags, before.flags);
	assert_true(after.clock > before.clock);
	vm_close(&vm);
	close(memfd);
}

static void put_gate(uint8_t *idt, unsigned int vector, uint64_t handler)
{
	uint8_t *gate = idt + vector * 16U;

	store_le16(gate, (uint16_t)handler);
	store_le16(gate + 2, 0x8);
	gate[5] = 0x8e;	/* present interrupt gate */
	store_le16(gate + 6, (uint16_t)(handler >> 16));
	store_le32(gate + 8, (uint32_t)(handler >> 32));
}

static void enter_long_mode(struct vm *vm)
{
	struct kvm_regs regs = { .rip = CODE64, .rflags = 2, .rsp = STACK };
	struct kvm_segment code = { .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_sregs s;

	/* 2 MiB pages: the first, and the LAPIC's. */
	store_le64(vm->mem + PML4, (PML4 + 0x1000) | 3);
	store_le64(vm->mem + PML4 + 0x1000, (PML4 + 0x2000) | 3);
	store_le64(vm->mem + PML4 + 0x1018, (PML4 + 0x3000) | 3);
	store_le64(vm->mem + PML4 + 0x2000, 0x83);
	store_le64(vm->mem + PML4 + 0x3000 + 503 * 8, 0xfee00000 | 0x93);
	put_gate(vm->mem + IDT, PIT_VECTOR, CODE64 + (uint64_t)(guest64_pit - guest64_start));
	put_gate(vm->mem + IDT, LAPIC_VECTOR, CODE64 + (uint64_t)(guest64_lapic - guest64_start));
	/* A GDT for interrupts to come back through. */
	store_le64(vm->mem + 0x3000 + 8, 0x00af9b000000ffff);
	store_le64(vm->mem + 0x3000 + 16, 0x00cf93000000ffff);
	assert_int_equal(ioctl(vm->vcpus[0], KVM_GET_SREGS, &s), 0);
	s.cr0 = 0x80000033;
	s.cr3 = PML4;
	s.cr4 = 0x620;	/* PAE, OSFXSR, OSXMMEXCPT */
	s.efer = 0x500;	/* LME, LMA */
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.gdt = (struct kvm_dtable){ .base = 0x3000, .limit = 23 };
	s.idt = (struct kvm_dtable){ .base = IDT, .limit = 0xfff };
	assert_int_equal(ioctl(vm->vcpus[0], KVM_SET_SREGS, &s), 0);
	assert_int_equal(ioctl(vm->vcpus[0], KVM_SET_REGS, &regs), 0);
}

static void a_long_mode_guest_with_xapic_and_xmm(void **state)
{
	int memfd = vm_memory();
	struct vm vm;

	(void)state;
	vm_open(&vm, memfd, NULL);
	memcpy(vm.mem + CODE64, guest64_start, (size_t)(guest64_end - guest64_start));
	for (int i = 0; i < 32; i++)
		vm.mem[0x600 + i] = (uint8_t)(0xa0 + i);
	enter_long_mode(&vm);
	hop_20_times(&vm, memfd);
	vm_close(&vm);
	close(memfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_real_mode_guest_with_x2apic),
		cmocka_unit_test(two_vcpus_keep_a_stable_clock),
		cmocka_unit_test(a_long_mode_guest_with_xapic_and_xmm),
	};

	vm_require_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
