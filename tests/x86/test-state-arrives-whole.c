/* SPDX-License-Identifier: Apache-2.0 */
/* Each part of a vCPU's state, set from outside, is there after the move. */
/* LIBS: migd_guest migd_base */
/* SOURCES: vm.c */
/* LABELS: kvm */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/x86/arch.h"
#include "tests/x86/vm.h"

static void get_cpuid(const struct vm *vm, uint32_t leaf, uint32_t index, struct kvm_cpuid_entry2 *ret)
{
	struct kvm_cpuid2 *t = calloc(1, sizeof(*t) + 256 * sizeof(t->entries[0]));

	assert_non_null(t);
	t->nent = 256;
	assert_int_equal(ioctl(vm->vcpus[0], KVM_GET_CPUID2, t), 0);
	memset(ret, 0, sizeof(*ret));
	for (uint32_t i = 0; i < t->nent; i++)
		if (t->entries[i].function == leaf && t->entries[i].index == index)
			*ret = t->entries[i];
	free(t);
}

/* Every component that the guest has gets bytes of its own. */
static void vector_registers_and_pkru(void **state)
{
	uint8_t area[X86_XSAVE_MAX] = { 0 }, after[X86_XSAVE_MAX] = { 0 };
	struct kvm_cpuid_entry2 e;
	uint64_t mask, set = 3;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	get_cpuid(&vm, 0xd, 0, &e);
	mask = e.eax | (uint64_t)e.edx << 32;
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_XSAVE, area), 0);
	for (int i = 160; i < 416; i++)	/* XMM0 to 15 */
		area[i] = (uint8_t)(i * 7 + 1);
	for (uint32_t bit = 2; bit < 10; bit++) {
		if (!(mask >> bit & 1) || bit == 3 || bit == 4 || bit == 8)
			continue;
		get_cpuid(&vm, 0xd, bit, &e);
		assert_true(e.ebx + e.eax <= vm.arch->xsave_size);
		/* PKRU: one word, all of whose bits may be set. */
		for (uint32_t i = 0; i < (bit == 9 ? 4 : e.eax); i++)
			area[e.ebx + i] = (uint8_t)(bit * 16 + i * 3 + 1);
		set |= 1ULL << bit;
	}
	print_message("components set: 0x%llx\n", (unsigned long long)set);
	store_le64(area + 512, set);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_XSAVE, area), 0);
	vm_hop(&vm, vm_memfd, NULL);
	vm_hop(&vm, vm_memfd, NULL);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_XSAVE, after), 0);
	assert_memory_equal(after, area, vm.arch->xsave_size);
	vm_close(&vm);
}

static void xcr0(void **state)
{
	struct kvm_xcrs x = { .nr_xcrs = 1 };
	struct kvm_cpuid_entry2 e;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	get_cpuid(&vm, 0xd, 0, &e);
	x.xcrs[0].value = e.eax | (uint64_t)e.edx << 32;
	assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_XCRS, &x), 0);
	vm_hop(&vm, vm_memfd, NULL);
	x.xcrs[0].value = 0;
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_XCRS, &x), 0);
	assert_int_equal(x.xcrs[0].value, e.eax | (uint64_t)e.edx << 32);
	vm_close(&vm);
}

static void msrs_listed_or_not(void **state)
{
	static const struct x86_msr set[] = {
		{ 0x174, 0x10 }, { 0x175, 0xffff800000001000 }, { 0x176, 0xffff800000002000 },	/* SYSENTER */
		{ 0xc0000081, 0x0023001000000000 }, { 0xc0000082, 0xffff800000003000 },	/* STAR, LSTAR */
		{ 0xc0000083, 0xffff800000004000 }, { 0xc0000084, 0x47700 },
		{ 0xc0000102, 0xffff800000005000 },	/* KERNEL_GS_BASE */
		{ 0x277, 0x0007010600070106 },		/* PAT */
		{ 0x200, 0x6 }, { 0x201, 0xff0000800 }, { 0x2ff, 0xc06 }, { 0x250, 0x0606060606060606 },	/* MTRRs */
		{ 0x1a0, 1 },				/* MISC_ENABLE */
		{ 0x404, 0xffffffffffffffff }, { 0x405, 0x9400000000000152 },	/* MCE bank 1 */
		{ 0x3b, 4096 },				/* TSC_ADJUST */
		{ 0x4b564d01, 0x7001 },			/* SYSTEM_TIME, enabled */
		{ 0x4b564d03, 0x7041 },			/* STEAL_TIME */
		{ 0x4b564d06, 0xf3 },			/* ASYNC_PF_INT before ... */
		{ 0x4b564d02, 0x7089 },			/* ... ASYNC_PF_EN, by interrupt */
	};
	struct vm vm;
	uint64_t v;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		if (x86_msr_set(vm.vcpus[0], set[i].index, set[i].value) != 1)
			print_message("MSR 0x%x cannot be set here\n", set[i].index);
	/* What was set is what is read, then what is read after the move. */
	struct x86_msr before[ARRAY_SIZE(set)];
	for (size_t i = 0; i < ARRAY_SIZE(set); i++) {
		before[i].index = x86_msr_get(vm.vcpus[0], set[i].index, &v) == 1 ? set[i].index : 0;
		before[i].value = v;
	}
	vm_hop(&vm, vm_memfd, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(set); i++) {
		if (!before[i].index)
			continue;
		assert_int_equal(x86_msr_get(vm.vcpus[0], set[i].index, &v), 1);
		if (v != before[i].value)
			fail_msg("MSR 0x%x: 0x%llx became 0x%llx", set[i].index,
				 (unsigned long long)before[i].value, (unsigned long long)v);
	}
	vm_close(&vm);
}

static void registers_of_all_kinds(void **state)
{
	struct kvm_regs regs = { .rax = 1, .rbx = 2, .rcx = 3, .rdx = 4, .rsi = 5, .rdi = 6, .rsp = 7,
				 .rbp = 8, .r8 = 9, .r9 = 10, .r10 = 11, .r11 = 12, .r12 = 13, .r13 = 14,
				 .r14 = 15, .r15 = 0xfedcba9876543210, .rip = 0x1234, .rflags = 0x202 };
	struct kvm_debugregs dr = { .db = { 0x1000, 0x2000, 0x3000, 0x4000 }, .dr6 = 0xffff0ff1, .dr7 = 0x455 };
	struct kvm_sregs sregs, sregs_after;
	struct kvm_debugregs dr_after;
	struct kvm_regs regs_after;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_SREGS, &sregs), 0);
	sregs.ds.base = 0x12340;
	sregs.ds.selector = 0x1234;
	sregs.fs.base = 0x55550;
	sregs.gdt = (struct kvm_dtable){ .base = 0x777000, .limit = 0x7f };
	sregs.idt = (struct kvm_dtable){ .base = 0x778000, .limit = 0xfff };
	sregs.cr2 = 0xdead000;
	sregs.cr4 |= 0x600;
	sregs.cr8 = 5;
	assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_SREGS, &sregs), 0);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_REGS, &regs), 0);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_DEBUGREGS, &dr), 0);
	vm_hop(&vm, vm_memfd, NULL);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_REGS, &regs_after), 0);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_SREGS, &sregs_after), 0);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_DEBUGREGS, &dr_after), 0);
	assert_memory_equal(&regs_after, &regs, sizeof(regs));
	assert_memory_equal(&sregs_after, &sregs, sizeof(sregs));
	assert_memory_equal(&dr_after, &dr, sizeof(dr));
	vm_close(&vm);
}

static void an_interrupt_on_its_way(void **state)
{
	struct kvm_vcpu_events ev, after;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_VCPU_EVENTS, &ev), 0);
	ev.interrupt.injected = 1;
	ev.interrupt.nr = 0x31;
	ev.nmi.masked = 1;
	ev.nmi.pending = 1;
	assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_VCPU_EVENTS, &ev), 0);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_VCPU_EVENTS, &ev), 0);
	vm_hop(&vm, vm_memfd, NULL);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_VCPU_EVENTS, &after), 0);
	assert_int_equal(after.interrupt.injected, 1);
	assert_int_equal(after.interrupt.nr, 0x31);
	assert_memory_equal(&after, &ev, sizeof(ev));
	vm_close(&vm);
}

static void an_exception_on_its_way(void **state)
{
	struct kvm_vcpu_events ev, after;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_VCPU_EVENTS, &ev), 0);
	ev.exception.injected = 1;
	ev.exception.nr = 13;
	ev.exception.has_error_code = 1;
	ev.exception.error_code = 0x58;
	assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_VCPU_EVENTS, &ev), 0);
	vm_hop(&vm, vm_memfd, NULL);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_VCPU_EVENTS, &after), 0);
	assert_int_equal(after.exception.injected, 1);
	assert_int_equal(after.exception.nr, 13);
	assert_int_equal(after.exception.error_code, 0x58);
	vm_close(&vm);
}

/* The LAPIC's registers but the running count, an interrupt waiting in it, and its mode. */
static void a_lapic_in_either_mode(void **state)
{
	struct kvm_lapic_state lapic, after;
	struct kvm_sregs sregs;
	struct vm vm;

	(void)state;
	for (int x2apic = 0; x2apic < 2; x2apic++) {
		vm_open(&vm, vm_memfd, NULL);
		assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_SREGS, &sregs), 0);
		sregs.apic_base |= x2apic ? 0xc00 : 0x800;
		assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_SREGS, &sregs), 0);
		assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_LAPIC, &lapic), 0);
		store_le32(lapic.regs + 0xf0, 0x1ff);	/* SVR: on */
		store_le32(lapic.regs + 0x80, 0x20);	/* TPR */
		store_le32(lapic.regs + 0x320, 0x20041);	/* timer: periodic */
		store_le32(lapic.regs + 0x3e0, 0xb);
		store_le32(lapic.regs + 0x380, 0x10000000);
		store_le32(lapic.regs + 0x390, 0x0fff0000);
		store_le32(lapic.regs + 0x210, 1U << 17);	/* IRR: vector 0x31 */
		assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_LAPIC, &lapic), 0);
		assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_LAPIC, &lapic), 0);
		vm_hop(&vm, vm_memfd, NULL);
		assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_LAPIC, &after), 0);
		assert_true(load_le32(after.regs + 0x390) > 0);
		store_le32(after.regs + 0x390, load_le32(lapic.regs + 0x390));
		assert_memory_equal(after.regs, lapic.regs, sizeof(lapic.regs));
		assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_SREGS, &sregs), 0);
		assert_int_equal(sregs.apic_base & 0xc00, x2apic ? 0xc00 : 0x800);
		vm_close(&vm);
	}
}

/* Written while the timer is in another mode, it would be dropped silently. */
static void a_tsc_deadline(void **state)
{
	struct kvm_lapic_state lapic;
	uint64_t tsc, deadline;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_LAPIC, &lapic), 0);
	store_le32(lapic.regs + 0xf0, 0x1ff);
	store_le32(lapic.regs + 0x320, 0x40041);	/* TSC-deadline mode */
	assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_LAPIC, &lapic), 0);
	assert_int_equal(x86_msr_get(vm.vcpus[0], X86_MSR_TSC, &tsc), 1);
	assert_int_equal(x86_msr_set(vm.vcpus[0], X86_MSR_TSC_DEADLINE, tsc + (1ULL << 40)), 1);
	assert_int_equal(x86_msr_get(vm.vcpus[0], X86_MSR_TSC_DEADLINE, &deadline), 1);
	if (deadline != tsc + (1ULL << 40)) {
		print_message("skipped: this KVM has no TSC deadline\n");
		vm_close(&vm);
		return;
	}
	vm_hop(&vm, vm_memfd, NULL);
	assert_int_equal(x86_msr_get(vm.vcpus[0], X86_MSR_TSC_DEADLINE, &deadline), 1);
	assert_int_equal(deadline, tsc + (1ULL << 40));
	vm_close(&vm);
}

static void mp_states_of_two_vcpus(void **state)
{
	static const struct vm_options two = { .n_vcpus = 2 };
	struct kvm_mp_state halted = { KVM_MP_STATE_HALTED }, init = { KVM_MP_STATE_INIT_RECEIVED }, mp;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, &two);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_MP_STATE, &halted), 0);
	assert_int_equal(ioctl(vm.vcpus[1], KVM_SET_MP_STATE, &init), 0);
	vm_hop(&vm, vm_memfd, &two);
	assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_MP_STATE, &mp), 0);
	assert_int_equal(mp.mp_state, KVM_MP_STATE_HALTED);
	assert_int_equal(ioctl(vm.vcpus[1], KVM_GET_MP_STATE, &mp), 0);
	assert_int_equal(mp.mp_state, KVM_MP_STATE_INIT_RECEIVED);
	vm_close(&vm);
}

static void chips_and_pit(void **state)
{
	struct kvm_irqchip chip[3], after;
	struct kvm_pit_state2 pit, pit_after;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	for (uint32_t i = 0; i < 3; i++) {
		chip[i] = (struct kvm_irqchip){ .chip_id = i };
		assert_int_equal(ioctl(vm.fd, KVM_GET_IRQCHIP, &chip[i]), 0);
		if (i < 2) {
			chip[i].chip.pic.imr = (uint8_t)(0xa5 + i);
			chip[i].chip.pic.irq_base = (uint8_t)(0x40 + i * 8);
			chip[i].chip.pic.elcr = 0x20;
		} else {
			chip[i].chip.ioapic.ioregsel = 0x12;
			chip[i].chip.ioapic.redirtbl[3].bits = 0x0100000000010041;
			chip[i].chip.ioapic.redirtbl[23].bits = 0x0000000000010042;
		}
		assert_int_equal(ioctl(vm.fd, KVM_SET_IRQCHIP, &chip[i]), 0);
		assert_int_equal(ioctl(vm.fd, KVM_GET_IRQCHIP, &chip[i]), 0);
	}
	assert_int_equal(ioctl(vm.fd, KVM_GET_PIT2, &pit), 0);
	pit.channels[0].mode = 2;
	pit.channels[0].rw_mode = 3;
	pit.channels[0].count = 0x4a9;
	pit.channels[2].count = 0x1000;
	pit.channels[2].mode = 3;
	pit.channels[2].gate = 1;
	assert_int_equal(ioctl(vm.fd, KVM_SET_PIT2, &pit), 0);
	vm_hop(&vm, vm_memfd, NULL);
	for (uint32_t i = 0; i < 3; i++) {
		after = (struct kvm_irqchip){ .chip_id = i };
		assert_int_equal(ioctl(vm.fd, KVM_GET_IRQCHIP, &after), 0);
		/* IRQ 0 comes and goes with the PIT's tick. */
		after.chip.pic.last_irr = chip[i].chip.pic.last_irr;
		after.chip.pic.irr = chip[i].chip.pic.irr;
		if (i == 2)
			after.chip.ioapic.irr = chip[i].chip.ioapic.irr;
		assert_memory_equal(&after, &chip[i], sizeof(after));
	}
	assert_int_equal(ioctl(vm.fd, KVM_GET_PIT2, &pit_after), 0);
	assert_int_equal(pit_after.channels[0].count, 0x4a9);
	assert_int_equal(pit_after.channels[0].mode, 2);
	assert_int_equal(pit_after.channels[2].count, 0x1000);
	assert_int_equal(pit_after.channels[2].gate, 1);
	/* Saved as the time since it was loaded, so it lies in our past. */
	assert_true(pit_after.channels[2].count_load_time >= pit.channels[2].count_load_time);
	vm_close(&vm);
}

static void other_kinds_of_irqchip(void **state)
{
	static const struct vm_options kinds[] = { { .bare = true }, { .split = true } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct kvm_regs regs = { .rax = 0x1234, .rflags = 2 }, after;
		struct vm vm;

		vm_open(&vm, vm_memfd, &kinds[i]);
		assert_int_equal(ioctl(vm.vcpus[0], KVM_SET_REGS, &regs), 0);
		vm_hop(&vm, vm_memfd, &kinds[i]);
		assert_int_equal(ioctl(vm.vcpus[0], KVM_GET_REGS, &after), 0);
		assert_int_equal(after.rax, 0x1234);
		vm_close(&vm);
	}
}

static void the_clock_does_not_step_back(void **state)
{
	struct kvm_clock_data before, after;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	before = (struct kvm_clock_data){ .clock = 3600ULL * 1000000000 };
	assert_int_equal(ioctl(vm.fd, KVM_SET_CLOCK, &before), 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(ioctl(vm.fd, KVM_GET_CLOCK, &before), 0);
		vm_hop(&vm, vm_memfd, NULL);
		assert_int_equal(ioctl(vm.fd, KVM_GET_CLOCK, &after), 0);
		assert_true(after.clock >= before.clock);
		assert_true(after.clock - before.clock < 600ULL * 1000000000);
	}
	vm_close(&vm);
}

/* Only together does the wall clock count: the source read it, both hosts' are right, and KVM here takes it. */
static void the_wall_clock_counts_only_if_it_can_be_trusted(void **state)
{
	struct x86_clock c = { .clock_ns = 1000, .flags = KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC | KVM_CLOCK_TSC_STABLE,
			       .realtime_ns = 77, .host_tsc = 88, .synchronised = true };
	struct kvm_clock_data k;

	(void)state;
	k = x86_clock_plan(&c, KVM_CLOCK_REALTIME, false, true);
	assert_int_equal(k.clock, 1000);
	assert_int_equal(k.flags, KVM_CLOCK_REALTIME);
	assert_int_equal(k.realtime, 77);
	assert_int_equal(k.host_tsc, 0);
	assert_int_equal(x86_clock_plan(&c, KVM_CLOCK_REALTIME, false, false).flags, 0);
	assert_int_equal(x86_clock_plan(&c, KVM_CLOCK_REALTIME, true, false).flags, KVM_CLOCK_REALTIME);
	assert_int_equal(x86_clock_plan(&c, 0, true, true).flags, 0);
	c.synchronised = false;
	assert_int_equal(x86_clock_plan(&c, KVM_CLOCK_REALTIME, false, true).flags, 0);
	c.synchronised = true;
	c.flags = 0;
	assert_int_equal(x86_clock_plan(&c, KVM_CLOCK_REALTIME, true, true).flags, 0);
	assert_int_equal(x86_clock_plan(&c, KVM_CLOCK_REALTIME, true, true).clock, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vector_registers_and_pkru),
		cmocka_unit_test(xcr0),
		cmocka_unit_test(msrs_listed_or_not),
		cmocka_unit_test(registers_of_all_kinds),
		cmocka_unit_test(an_interrupt_on_its_way),
		cmocka_unit_test(an_exception_on_its_way),
		cmocka_unit_test(a_lapic_in_either_mode),
		cmocka_unit_test(a_tsc_deadline),
		cmocka_unit_test(mp_states_of_two_vcpus),
		cmocka_unit_test(chips_and_pit),
		cmocka_unit_test(other_kinds_of_irqchip),
		cmocka_unit_test(the_clock_does_not_step_back),
		cmocka_unit_test(the_wall_clock_counts_only_if_it_can_be_trusted),
	};

	vm_require_kvm();
	return cmocka_run_group_tests(tests, vm_memory_setup, vm_memory_teardown);
}
