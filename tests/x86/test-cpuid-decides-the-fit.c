/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID tables compared: what is equal, what can be adopted, what is missing by name; then with a real KVM. */
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
#include "guest/x86/cpuid.h"
#include "tests/x86/vm.h"

/* A canned table: leaves 1, 7.0, 0xd.0, 0xd.2, KVM's. */
static struct kvm_cpuid2 *canned(void)
{
	static const struct kvm_cpuid_entry2 entries[] = {
		{ .function = 0x1, .eax = 0x806f8, .ebx = 0x10800, .ecx = 0x9c000201, .edx = 0x178bfbff },
		{ .function = 0x7, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .ebx = 0x30029, .ecx = 0x8, .edx = 0x20000000 },
		{ .function = 0xd, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .eax = 0x207, .ebx = 0x340, .ecx = 0xa88 },
		{ .function = 0xd, .index = 2, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .eax = 0x100, .ebx = 0x240 },
		{ .function = 0x40000001, .eax = 0x1000cfb },
	};
	struct kvm_cpuid2 *t = x86_cpuid_new();

	assert_non_null(t);
	t->nent = ARRAY_SIZE(entries);
	memcpy(t->entries, entries, sizeof(entries));
	return t;
}

enum { L1, L7, LD, LD2, LKVM };

static void dynamic_bits_and_zeros_are_no_difference(void **state)
{
	struct kvm_cpuid2 *a = canned(), *b = canned();

	(void)state;
	assert_true(x86_cpuid_equal(a, b));
	b->entries[L1].ecx ^= 1U << 27 | 1U << 3;	/* OSXSAVE, MWAIT */
	b->entries[L1].edx ^= 1U << 9;			/* APIC */
	b->entries[L7].ecx ^= 1U << 4;			/* OSPKE */
	b->entries[LD].ebx = 0x240;			/* size for XCR0 as it is */
	assert_true(x86_cpuid_equal(a, b));
	b->entries[b->nent++] = (struct kvm_cpuid_entry2){ .function = 0x99 };
	assert_true(x86_cpuid_equal(a, b));
	b->entries[b->nent++] = (struct kvm_cpuid_entry2){ .function = 0x9a, .eax = 1 };
	assert_false(x86_cpuid_equal(a, b));
	assert_false(x86_cpuid_equal(b, a));
	b->nent -= 2;
	b->entries[LD].ecx++;
	assert_false(x86_cpuid_equal(a, b));
	free(a);
	free(b);
}

static const struct {
	unsigned int entry;
	size_t reg;
	uint32_t clear;		/* in what KVM supports */
	const char *text;	/* NULL: nothing is missing */
} cases[] = {
	{ L1, offsetof(struct kvm_cpuid_entry2, eax), UINT32_MAX, NULL },	/* family and model */
	{ L1, offsetof(struct kvm_cpuid_entry2, ecx), 1U << 31, NULL },		/* the hypervisor bit */
	{ L1, offsetof(struct kvm_cpuid_entry2, edx), 1U << 28, NULL },		/* HT: topology */
	{ L1, offsetof(struct kvm_cpuid_entry2, ecx), 1U << 28, "CPUID leaf 0x1 ecx: avx (bit 28) at the source, missing here: " },
	{ L7, offsetof(struct kvm_cpuid_entry2, ebx), 3U << 16,
	  "CPUID leaf 0x7.0 ebx: avx512f (bit 16), avx512dq (bit 17) at the source, missing here: "
	  "choose another host, or start the source guest with fewer CPU features" },
	{ L7, offsetof(struct kvm_cpuid_entry2, ecx), 8, "leaf 0x7.0 ecx: pku (bit 3) at the source, missing here: " },
	{ L7, offsetof(struct kvm_cpuid_entry2, edx), 1U << 29, "edx: arch_capabilities (bit 29) at the source, missing here: " },
	{ LD, offsetof(struct kvm_cpuid_entry2, eax), 1U << 9, "leaf 0xd.0 eax: pkru (bit 9) at the source, missing here: " },
	{ LD2, offsetof(struct kvm_cpuid_entry2, ebx), 0x40, "CPUID leaf 0xd.2: place of XSAVE component AVX: 256 bytes at 576 at the source, 256 bytes at 512 here: " },
	{ LKVM, offsetof(struct kvm_cpuid_entry2, eax), 1U << 24,
	  "leaf 0x40000001 eax: kvm_clocksource_stable (bit 24) at the source, missing here: " },
	{ LKVM, offsetof(struct kvm_cpuid_entry2, eax), 1U << 5, "kvm_steal_time (bit 5) at the source, missing here: " },
};

static void what_is_missing_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kvm_cpuid2 *source = canned(), *supported = canned();
		struct mismatches m = { 0 };
		uint32_t *reg = (uint32_t *)((uint8_t *)&supported->entries[cases[i].entry] + cases[i].reg);
		unsigned int n;

		*reg &= ~cases[i].clear;
		n = x86_cpuid_missing(source, supported, supported, &m);
		assert_int_equal(n, cases[i].text ? 1 : 0);
		assert_int_equal(m.n, n);
		if (cases[i].text) {
			struct merr err = MERR_INIT;

			assert_int_equal(mismatches_fail(&m, "here", &err), -EINVAL);
			if (!strstr(merr_msg(&err), cases[i].text))
				fail_msg("case %zu: '%s', not '%s'", i, merr_msg(&err), cases[i].text);
		}
		/* What the vCPU here has is there, whatever KVM says. */
		m = (struct mismatches){ 0 };
		if (cases[i].entry != LD2)
			assert_int_equal(x86_cpuid_missing(source, supported, source, &m), 0);
		free(source);
		free(supported);
	}
}

/* With KVM. All that differs comes as one error. */

static int fails(struct arch_state *a, const struct guest_tables *t, const struct buf *config, struct merr *err)
{
	struct mismatches *m = calloc(1, sizeof(*m));
	int r;

	assert_non_null(m);
	r = guest_config_check(a, t, config->data, config->len, m, err);
	if (r == 0)
		r = mismatches_fail(m, "here", err);
	free(m);
	return r;
}

static void other_brand(struct kvm_cpuid2 *t, unsigned int index)
{
	(void)index;
	for (uint32_t i = 0; i < t->nent; i++)
		if (t->entries[i].function == 0x80000002)
			t->entries[i].eax = 0x6469676d;
}

static int check_between(const struct vm_options *from, const struct vm_options *to, struct vm *ret_to,
			 struct buf *state, struct merr *err)
{
	struct buf config = { 0 };
	struct vm source;
	int r;

	vm_open(&source, vm_memfd, from);
	assert_int_equal(guest_config_get(source.arch, source.tables, &config, NULL), 0);
	print_message("a description of %zu bytes\n", config.len);
	vm_save(&source, state);
	vm_close(&source);
	vm_open(ret_to, vm_memfd, to);
	r = fails(ret_to->arch, ret_to->tables, &config, err);
	buf_done(&config);
	return r;
}

static void its_own_kind_fits(void **state)
{
	static const struct vm_options two = { .n_vcpus = 2 };
	struct merr err = MERR_INIT;
	struct buf saved = { 0 };
	struct vm vm;

	(void)state;
	if (check_between(&two, &two, &vm, &saved, &err) < 0)
		fail_msg("%s", err.msg);
	vm_close(&vm);
	buf_done(&saved);
}

static struct kvm_cpuid_entry2 entry_of(const struct vm *vm, uint32_t function)
{
	struct kvm_cpuid2 *t = NULL;
	struct kvm_cpuid_entry2 e;

	assert_int_equal(x86_cpuid_of_vcpu(vm->vcpus[0], &t, NULL), 0);
	e = *x86_cpuid_find(t, function, 0);
	free(t);
	return e;
}

static void a_table_that_kvm_can_give_is_adopted_on_load(void **state)
{
	static const struct vm_options source = { .edit_cpuid = other_brand, .n_vcpus = 2 }, all = { .n_vcpus = 2 };
	struct merr err = MERR_INIT;
	struct buf saved = { 0 };
	struct vm vm;

	(void)state;
	if (check_between(&source, &all, &vm, &saved, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(vm.arch->vcpus[0].adopt_cpuid && vm.arch->vcpus[1].adopt_cpuid);
	if (vm_load(&vm, &saved, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(entry_of(&vm, 0x80000002).eax, 0x6469676d);
	vm_close(&vm);
	buf_done(&saved);
}

/* A source whose CPU had MPX, which no KVM of these machines gives; not every KVM shows what it is given, so it is forged. */
static void what_kvm_cannot_give_is_refused(void **state)
{
	static const uint8_t leaf7[] = { 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1 };
	struct merr err = MERR_INIT;
	struct buf config = { 0 };
	struct vm vm;
	uint8_t *at;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	assert_false(entry_of(&vm, 7).ebx & 1U << 14);
	assert_int_equal(guest_config_get(vm.arch, vm.tables, &config, NULL), 0);
	at = memmem(config.data, config.len, leaf7, sizeof(leaf7));
	assert_non_null(at);
	store_be32(at + 16, load_be32(at + 16) | 1U << 14);
	assert_int_equal(fails(vm.arch, vm.tables, &config, &err), -EINVAL);
	assert_string_equal(err.msg, "CPUID leaf 0x7.0 ebx: mpx (bit 14) at the source, missing here: "
				     "choose another host, or start the source guest with fewer CPU features");
	buf_done(&config);
	vm_close(&vm);
}

/* A source with another TSC, or other promises about its CPU. */
static void other_tsc_and_feature_msrs_are_refused(void **state)
{
	static const uint8_t tsc[] = { 0x01, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8 };
	static const uint8_t arch_capabilities[] = { 0, 0, 0x01, 0x0a };
	struct merr err = MERR_INIT;
	struct buf config = { 0 };
	struct vm vm;
	uint8_t *at;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	assert_int_equal(guest_config_get(vm.arch, vm.tables, &config, NULL), 0);
	at = memmem(config.data, config.len, tsc, sizeof(tsc));
	assert_non_null(at);
	store_be32(at + 12, 12345);
	at = memmem(config.data, config.len, arch_capabilities, sizeof(arch_capabilities));
	if (at)
		store_be64(at + 4, UINT64_MAX);
	if (fails(vm.arch, vm.tables, &config, &err) == 0)
		assert_true(vm.arch->has_tsc_control && !at);
	if (!vm.arch->has_tsc_control)
		assert_non_null(strstr(err.msg, "TSC: 12345 kHz at the source, "));
	if (at)
		assert_non_null(strstr(err.msg, "MSR 0x10a IA32_ARCH_CAPABILITIES: 0xffffffffffffffff at the source, at most 0x"));
	buf_done(&config);
	vm_close(&vm);
}

/* Each byte of a description, damaged: an error or a fit, and no byte beyond it is read. */
static void a_damaged_description_is_refused_or_taken(void **state)
{
	struct buf config = { 0 };
	unsigned int refused = 0;
	struct vm vm;

	(void)state;
	vm_open(&vm, vm_memfd, NULL);
	assert_int_equal(guest_config_get(vm.arch, vm.tables, &config, NULL), 0);
	for (size_t len = 0; len < config.len; len++) {
		uint8_t *copy = memcpy(malloc(len + 1), config.data, len);

		assert_true(fails(vm.arch, vm.tables, &(struct buf){ .data = copy, .len = len }, NULL) < 0);
		free(copy);
	}
	for (size_t i = 0; i < config.len; i++) {
		uint8_t *copy = memcpy(malloc(config.len), config.data, config.len);
		struct merr err = MERR_INIT;

		copy[i] ^= 0xff;
		if (fails(vm.arch, vm.tables, &(struct buf){ .data = copy, .len = config.len }, &err) < 0) {
			refused++;
			assert_true(merr_is_set(&err));
		}
		free(copy);
	}
	print_message("%u of %zu damaged descriptions refused\n", refused, config.len);
	assert_true(refused > 0);
	assert_int_equal(fails(vm.arch, vm.tables, &config, NULL), 0);
	buf_done(&config);
	vm_close(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dynamic_bits_and_zeros_are_no_difference),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(its_own_kind_fits),
		cmocka_unit_test(a_table_that_kvm_can_give_is_adopted_on_load),
		cmocka_unit_test(what_kvm_cannot_give_is_refused),
		cmocka_unit_test(other_tsc_and_feature_msrs_are_refused),
		cmocka_unit_test(a_damaged_description_is_refused_or_taken),
	};

	vm_require_kvm();
	return cmocka_run_group_tests(tests, vm_memory_setup, vm_memory_teardown);
}
