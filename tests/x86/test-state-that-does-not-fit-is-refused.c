/* SPDX-License-Identifier: Apache-2.0 */
/* State that this host cannot take is refused by name, and damaged state does no harm. */
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
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/x86/arch.h"
#include "tests/x86/vm.h"

static void tsc_frequencies_within_250_ppm_are_one(void **state)
{
	(void)state;
	assert_true(x86_tsc_khz_close(2000000, 2000000));
	assert_true(x86_tsc_khz_close(2000500, 2000000));
	assert_true(x86_tsc_khz_close(1999500, 2000000));
	assert_false(x86_tsc_khz_close(2000501, 2000000));
	assert_false(x86_tsc_khz_close(1000000, 2000000));
	assert_false(x86_tsc_khz_close(UINT32_MAX, 1));
}

/* What does not fit: the state is changed between saving and loading, in the structs of the target's own. */

typedef void edit(struct x86_vcpu *v);

static void bad_xsave_short(struct x86_vcpu *v)
{
	v->xsave_len = 100;
}

static void bad_xsave_component(struct x86_vcpu *v)
{
	store_le64(v->xsave + 512, load_le64(v->xsave + 512) | 1ULL << 18);
}

static void bad_xsave_long(struct x86_vcpu *v)
{
	v->xsave_len = X86_XSAVE_MAX;
	memset(v->xsave + 600, 0, sizeof(v->xsave) - 600);
	v->xsave[X86_XSAVE_MAX - 1] = 1;
}

static void bad_msr(struct x86_vcpu *v)
{
	v->msrs[v->n_msrs++] = (struct x86_msr){ 0x4fffffff, 5 };
}

static void bad_tsc_khz(struct x86_vcpu *v)
{
	v->tsc_khz = 12345;
}

static void bad_sregs_flags(struct x86_vcpu *v)
{
	v->sregs.flags = 0x80;
}

static void bad_nested(struct x86_vcpu *v)
{
	v->nested_len = 128;
}

static void bad_events(struct x86_vcpu *v)
{
	v->events.flags = 0xffff0000;
}

static void bad_mp_state(struct x86_vcpu *v)
{
	v->mp_state = 999;
}

static void bad_tsc(struct x86_vcpu *v)
{
	v->tsc = UINT64_MAX / 2;
}

static void bad_clock(struct x86_vcpu *v)
{
	v->arch->vm.clock.clock_ns = UINT64_MAX;
}

static void what_does_not_fit_is_named(void **state)
{
	static const struct {
		edit *edit;
		const char *text;
		bool may_pass;	/* where KVM can do it */
	} bad[] = {
		{ bad_xsave_short, "vCPU 0: an XSAVE area of 100 bytes, at least 576 are needed", false },
		{ bad_xsave_component,
		  "vCPU 0: XSAVE component 18 (AMX tile data) is in use at the source and not available here", true },
		{ bad_xsave_long, "vCPU 0: the XSAVE area has 16384 bytes at the source and", false },
		{ bad_msr, "vCPU 0: MSR 0x4fffffff : this host's KVM refuses the source's value 0x5", false },
		{ bad_tsc_khz, "vCPU 0: the TSC runs at 12345 kHz at the source and", true },
		{ bad_sregs_flags, "field 'sregs.flags': 0x80 is not known here", false },
		{ bad_nested, "vCPU 0: ", false },
		{ bad_events, "vCPU 0: events with flags 0xffff0000", false },
		{ bad_mp_state, "vCPU 0: KVM_SET_MP_STATE", false },
		{ bad_tsc, "vCPU 0: the guest's TSC is", true },
		{ bad_clock, "field 'clock': not a time", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct merr err = MERR_INIT;
		struct vm vm;
		int r;

		vm_open(&vm, vm_memfd, NULL);
		assert_int_equal(arch_clock_stopped(vm.arch, NULL), 0);
		assert_int_equal(arch_capture(vm.arch, NULL), 0);
		vm.arch->vm.got_irqchip = vm.arch->vm.got_pit = true;
		bad[i].edit(&vm.arch->vcpus[0]);
		r = arch_load_apply(vm.arch, &err);
		if (r == 0 && bad[i].may_pass)
			print_message("case %zu: KVM here can do it\n", i);
		else if (r >= 0 || !strstr(err.msg, bad[i].text))
			fail_msg("case %zu: %d '%s', not '%s'", i, r, err.msg, bad[i].text);
		vm_close(&vm);
	}
}

static void a_refused_msr_of_value_zero_is_noted(void **state)
{
	struct merr err = MERR_INIT;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	assert_int_equal(arch_clock_stopped(vm.arch, NULL), 0);
	assert_int_equal(arch_capture(vm.arch, NULL), 0);
	vm.arch->vm.got_irqchip = vm.arch->vm.got_pit = true;
	/* In the middle, so that the ones behind it must still be set. */
	vm.arch->vcpus[0].msrs[vm.arch->vcpus[0].n_msrs++] = (struct x86_msr){ 0x4fffffff, 0 };
	vm.arch->vcpus[0].msrs[vm.arch->vcpus[0].n_msrs++] = (struct x86_msr){ 0x176, 0x4321 };
	if (arch_load_apply(vm.arch, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(guest_state_notes(vm.arch),
			    "vCPU 0: MSR 0x4fffffff  is 0 at the source and cannot be set here\n");
	uint64_t v;
	assert_int_equal(x86_msr_get(vm.vcpus[0], 0x176, &v), 1);
	assert_int_equal(v, 0x4321);
	vm_close(&vm);
}

/* Whatever bytes come, the load ends with an error or a state; nothing is read beyond them. */
static void damaged_state_is_refused_or_taken(void **state)
{
	struct buf good = { 0 };
	unsigned int refused = 0, taken = 0;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	vm_save(&vm, &good);
	for (size_t len = 0; len < good.len; len += 1 + len / 40) {
		struct buf part = { .data = memcpy(malloc(len + 1), good.data, len), .len = len };
		struct merr err = MERR_INIT;

		assert_true(vm_load(&vm, &part, &err) < 0);
		assert_true(merr_is_set(&err));
		free(part.data);
	}
	srand(1);
	for (int i = 0; i < 300; i++) {
		struct buf part = { .data = memcpy(malloc(good.len), good.data, good.len), .len = good.len };
		struct merr err = MERR_INIT;

		part.data[(size_t)rand() % good.len] ^= (uint8_t)(1 + rand() % 255);
		if (vm_load(&vm, &part, &err) < 0)
			refused++;
		else
			taken++;
		free(part.data);
	}
	print_message("%u damaged states refused, %u taken\n", refused, taken);
	assert_true(refused > 0);
	buf_done(&good);
	vm_close(&vm);
}

static void a_kvm_without_a_capability_is_refused(void **state)
{
	struct guest_tables *t = calloc(1, sizeof(*t));
	struct guest_vcpu vcpu = { .fd = -1 };
	struct arch_state *a = NULL;
	struct merr err = MERR_INIT;

	(void)state;
	assert_non_null(t);
	t->kvm.kvm_fd = t->kvm.vm_fd = -1;	/* has none at all */
	t->vcpus = &vcpu;
	t->n_vcpus = 1;
	assert_int_equal(arch_state_new(t, &a, &err), -ENOTSUP);
	assert_int_equal(err.class, MERR_KVM_MISSING_CAP);
	assert_non_null(strstr(err.msg, "KVM lacks KVM_CAP_MP_STATE"));
	assert_null(a);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tsc_frequencies_within_250_ppm_are_one),
		cmocka_unit_test(what_does_not_fit_is_named),
		cmocka_unit_test(a_refused_msr_of_value_zero_is_noted),
		cmocka_unit_test(damaged_state_is_refused_or_taken),
		cmocka_unit_test(a_kvm_without_a_capability_is_refused),
	};

	vm_require_kvm();
	return cmocka_run_group_tests(tests, vm_memory_setup, vm_memory_teardown);
}
