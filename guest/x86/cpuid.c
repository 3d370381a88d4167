/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID tables compared (KVM.md 3.1).
 *
 * Registers that are sets of features must be subsets of what KVM supports; each is a row below, with its bits' names. What
 * is no feature (family, caches, topology, brand) is the VMM's to choose. What the vCPU here has already counts as supported
 * as well: KVMs that cannot trap CPUID show the guest more than they admit, and more than was set. Some bits follow the guest's registers or the
 * VMM's devices, whatever KVM says it supports: `free` bits.
 */
#include "guest/x86/cpuid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/x86/arch.h"

enum reg { EAX, EBX, ECX, EDX, REGS };

static const char *const reg_names[REGS] = { "eax", "ebx", "ecx", "edx" };

struct feature_reg {
	uint32_t function, index;
	enum reg reg;
	uint32_t free;	/* never missing */
	const char *bits;	/* names from bit 0, "-": has none */
};

#define BIT(n) (1U << (n))

static const struct feature_reg feature_regs[] = {
	/* Free: OSXSAVE, HYPERVISOR, and what the in-kernel LAPIC brings (x2APIC, TSC deadline). */
	{ 0x1, 0, ECX, BIT(27) | BIT(31) | BIT(21) | BIT(24),
	  "sse3 pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca "
	  "sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave osxsave avx f16c rdrand hypervisor" },
	/* Free: APIC (follows the APIC base), HT (follows the topology). */
	{ 0x1, 0, EDX, BIT(9) | BIT(28),
	  "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - ds acpi mmx "
	  "fxsr sse sse2 ss ht tm ia64 pbe" },
	{ 0x7, 0, EBX, 0,
	  "fsgsbase tsc_adjust sgx bmi1 hle avx2 fdp_excptn_only smep bmi2 erms invpcid rtm cqm zero_fcs_fds mpx "
	  "rdt_a avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er "
	  "avx512cd sha_ni avx512bw avx512vl" },
	/* Free: OSPKE. */
	{ 0x7, 0, ECX, BIT(4),
	  "prefetchwt1 avx512vbmi umip pku ospke waitpkg avx512_vbmi2 shstk gfni vaes vpclmulqdq avx512_vnni "
	  "avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid kl bus_lock_detect cldemote - movdiri "
	  "movdir64b enqcmd sgx_lc pks" },
	{ 0x7, 0, EDX, 0,
	  "- sgx_keys avx512_4vnniw avx512_4fmaps fsrm uintr - - avx512_vp2intersect srbds_ctrl md_clear "
	  "rtm_always_abort - rtm_force_abort serialize hybrid tsxldtrk - pconfig arch_lbr ibt - amx_bf16 "
	  "avx512_fp16 amx_tile amx_int8 spec_ctrl intel_stibp flush_l1d arch_capabilities core_capabilities ssbd" },
	{ 0x7, 1, EAX, 0,
	  "sha512 sm3 sm4 - avx_vnni avx512_bf16 lass cmpccxadd arch_perfmon_ext - fzrm fsrs fsrc - - - - fred "
	  "lkgs wrmsrns - amx_fp16 hreset avx_ifma - - lam" },
	{ 0x7, 1, EDX, 0, "- - - - avx_vnni_int8 avx_ne_convert - - amx_complex - avx_vnni_int16 - - - prefetchi" },
	{ 0x7, 2, EDX, 0, "intel_psfd ipred_ctrl rrsba_ctrl ddpd_u bhi_ctrl mcdt_no" },
	{ 0xd, 0, EAX, 0,
	  "x87 sse avx bndregs bndcsr opmask zmm_hi256 hi16_zmm pt pkru pasid cet_u cet_s hdc uintr lbr hwp "
	  "xtilecfg xtiledata" },
	{ 0xd, 0, EDX, 0, "" },
	{ 0xd, 1, EAX, 0, "xsaveopt xsavec xgetbv1 xsaves xfd" },
	{ 0xd, 1, ECX, 0, "- - - - - - - - pt - pasid cet_u cet_s hdc uintr lbr hwp" },
	{ 0xd, 1, EDX, 0, "" },
	{ 0x40000001, 0, EAX, 0,
	  "kvm_clocksource kvm_nop_io_delay kvm_mmu_op kvm_clocksource2 kvm_async_pf kvm_steal_time kvm_pv_eoi "
	  "kvm_pv_unhalt - kvm_pv_tlb_flush kvm_async_pf_vmexit kvm_pv_send_ipi kvm_poll_control "
	  "kvm_pv_sched_yield kvm_async_pf_int kvm_msi_ext_dest_id kvm_hc_map_gpa_range kvm_migration_control "
	  "- - - - - - kvm_clocksource_stable" },
	/* Free: CmpLegacy and TopoExt follow the topology. */
	{ 0x80000001, 0, ECX, BIT(1) | BIT(22),
	  "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - "
	  "lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx" },
	/* Free: APIC, as above. */
	{ 0x80000001, 0, EDX, BIT(9),
	  "fpu vme de pse tsc msr pae mce cx8 apic - syscall mtrr pge mca cmov pat pse36 - mp nx - mmxext mmx fxsr "
	  "fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow" },
	{ 0x80000007, 0, EDX, 0, "- - - - - - - - invtsc" },
	{ 0x80000008, 0, EBX, 0,
	  "clzero irperf xsaveerptr - rdpru - - - - wbnoinvd - - amd_ibpb - amd_ibrs amd_stibp - stibp_always_on - "
	  "- - - - - amd_ssbd virt_ssbd amd_ssb_no - amd_psfd btc_no" },
	{ 0x8000000a, 0, EDX, 0,
	  "npt lbrv svm_lock nrip_save tsc_scale vmcb_clean flush_by_asid decode_assists - - pause_filter - "
	  "pfthreshold avic - v_vmsave_vmload vgif" },
	{ 0x80000021, 0, EAX, 0, "no_nested_data_bp - lfence_rdtsc - - - null_sel_clr_base - auto_ibrs" },
};

/* Follow the guest's registers: not compared. */
static const struct {
	uint32_t function, index;
	enum reg reg;
	uint32_t mask;
} dynamic_bits[] = {
	{ 0x1, 0, ECX, BIT(27) | BIT(3) },	/* OSXSAVE: CR4; MWAIT: MISC_ENABLE */
	{ 0x1, 0, EDX, BIT(9) },		/* APIC: the APIC base */
	{ 0x7, 0, ECX, BIT(4) },		/* OSPKE: CR4 */
	{ 0xd, 0, EBX, UINT32_MAX },		/* size for XCR0 as it is */
	{ 0xd, 1, EBX, UINT32_MAX },		/* likewise, with XSS */
	{ 0x80000001, 0, EDX, BIT(9) },
};

struct kvm_cpuid2 *x86_cpuid_new(void)
{
	struct kvm_cpuid2 *t = calloc(1, sizeof(*t) + X86_CPUID_MAX * sizeof(t->entries[0]));

	if (t)
		t->nent = X86_CPUID_MAX;
	return t;
}

static int read_table(int fd, unsigned long request, const char *name, struct kvm_cpuid2 **ret,
		      struct merr *err)
{
	_cleanup_free_ struct kvm_cpuid2 *t = x86_cpuid_new();
	int r;

	if (!t)
		return merr_set_errno(err, -ENOMEM, "a CPUID table");
	r = x86_ioctl_named(fd, request, name, t, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

int x86_cpuid_of_vcpu(int vcpu_fd, struct kvm_cpuid2 **ret, struct merr *err)
{
	return read_table(vcpu_fd, KVM_GET_CPUID2, "KVM_GET_CPUID2", ret, err);
}

int x86_cpuid_supported(int kvm_fd, struct kvm_cpuid2 **ret, struct merr *err)
{
	return read_table(kvm_fd, KVM_GET_SUPPORTED_CPUID, "KVM_GET_SUPPORTED_CPUID", ret, err);
}

const struct kvm_cpuid_entry2 *x86_cpuid_find(const struct kvm_cpuid2 *t, uint32_t function,
					      uint32_t index)
{
	for (uint32_t i = 0; i < t->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function == function &&
		    (e->index == index || !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return e;
	}
	return NULL;
}

static uint32_t entry_reg(const struct kvm_cpuid_entry2 *e, enum reg reg)
{
	const uint32_t regs[REGS] = { e->eax, e->ebx, e->ecx, e->edx };

	return regs[reg];
}

static uint32_t table_reg(const struct kvm_cpuid2 *t, uint32_t function, uint32_t index, enum reg reg)
{
	const struct kvm_cpuid_entry2 *e = x86_cpuid_find(t, function, index);

	return e ? entry_reg(e, reg) : 0;
}

int x86_cpuid_xcr0_mask(int vcpu_fd, uint64_t *ret, struct merr *err)
{
	_cleanup_free_ struct kvm_cpuid2 *t = NULL;
	int r = x86_cpuid_of_vcpu(vcpu_fd, &t, err);

	if (r < 0)
		return r;
	/* A guest without the leaf still has what FXSAVE saves. */
	*ret = 3 | table_reg(t, 0xd, 0, EAX) | (uint64_t)table_reg(t, 0xd, 0, EDX) << 32 |
	       table_reg(t, 0xd, 1, ECX) | (uint64_t)table_reg(t, 0xd, 1, EDX) << 32;
	return 0;
}

static uint32_t dynamic_mask(uint32_t function, uint32_t index, enum reg reg)
{
	for (size_t i = 0; i < ARRAY_SIZE(dynamic_bits); i++)
		if (dynamic_bits[i].function == function && dynamic_bits[i].index == index &&
		    dynamic_bits[i].reg == reg)
			return dynamic_bits[i].mask;
	return 0;
}

/* Is each entry of A in B? One that is missing is all zeros. */
static bool covered(const struct kvm_cpuid2 *a, const struct kvm_cpuid2 *b)
{
	for (uint32_t i = 0; i < a->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &a->entries[i];

		for (enum reg reg = EAX; reg < REGS; reg++)
			if ((entry_reg(e, reg) ^ table_reg(b, e->function, e->index, reg)) &
			    ~dynamic_mask(e->function, e->index, reg))
				return false;
	}
	return true;
}

bool x86_cpuid_equal(const struct kvm_cpuid2 *a, const struct kvm_cpuid2 *b)
{
	return covered(a, b) && covered(b, a);
}

/* The name of bit BIT in a list like "sse3 - vmx"; "bit 2" where it has none. */
static void bit_name(const char *bits, unsigned int bit, char *ret, size_t cap)
{
	size_t len;

	for (unsigned int i = 0; *bits && i < bit; i++) {
		bits += strcspn(bits, " ");
		bits += *bits == ' ';
	}
	len = strcspn(bits, " ");
	if (len == 0 || *bits == '-')
		(void)snprintf(ret, cap, "bit %u", bit);
	else
		(void)snprintf(ret, cap, "%.*s (bit %u)", (int)len, bits, bit);
}

static const char *register_text(const struct feature_reg *f, struct mismatch_text *t)
{
	bool indexed = f->function == 0x7 || f->function == 0xd;

	if (indexed)
		return mismatch_format(t, "CPUID leaf 0x%x.%u %s", f->function, f->index, reg_names[f->reg]);
	return mismatch_format(t, "CPUID leaf 0x%x %s", f->function, reg_names[f->reg]);
}

static void report_list(const char *reg, const char *list, struct mismatches *m)
{
	mismatch_add(m, reg, list, "missing",
		     "choose another host, or start the source guest with fewer CPU features");
}

/* "CPUID leaf 0x7.0 ebx: avx512f (bit 16), avx512dq (bit 17)": one mismatch a register, more if it is a long list. */
static void report_register(const struct feature_reg *f, uint32_t missing, struct mismatches *m)
{
	struct mismatch_text t;
	const char *reg = register_text(f, &t);
	char list[ATTACH_STR_MAX + 1] = "", name[48];
	size_t len = 0;

	for (unsigned int bit = 0; bit < 32; bit++) {
		if (!(missing & BIT(bit)))
			continue;
		bit_name(f->bits, bit, name, sizeof(name));
		if (len + strlen(name) + 2 >= sizeof(list)) {
			report_list(reg, list, m);
			len = 0;
		}
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len ? ", " : "", name);
	}
	report_list(reg, list, m);
}

static const char *layout_text(const struct kvm_cpuid2 *t, uint32_t component, struct mismatch_text *ret)
{
	return mismatch_format(ret, "%u bytes at %u", table_reg(t, 0xd, component, EAX),
			       table_reg(t, 0xd, component, EBX));
}

/* Components of XSAVE in use must lie where this CPU puts them. */
static unsigned int missing_layout(const struct kvm_cpuid2 *source, const struct kvm_cpuid2 *supported,
				   struct mismatches *m)
{
	uint64_t used = table_reg(source, 0xd, 0, EAX) | (uint64_t)table_reg(source, 0xd, 0, EDX) << 32;
	struct mismatch_text there, here;
	unsigned int n = 0;

	for (uint32_t i = 2; i < 63; i++) {
		if (!(used >> i & 1) || !x86_cpuid_find(supported, 0xd, i))
			continue;
		if (table_reg(source, 0xd, i, EAX) == table_reg(supported, 0xd, i, EAX) &&
		    table_reg(source, 0xd, i, EBX) == table_reg(supported, 0xd, i, EBX))
			continue;
		mismatch_add(m, MISMATCH_TEXT("CPUID leaf 0xd.%u: place of XSAVE component %s", i,
					      x86_xsave_component(i)),
			     layout_text(source, i, &there), layout_text(supported, i, &here),
			     "choose another host");
		n++;
	}
	return n;
}

unsigned int x86_cpuid_missing(const struct kvm_cpuid2 *source, const struct kvm_cpuid2 *supported,
			       const struct kvm_cpuid2 *local, struct mismatches *m)
{
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(feature_regs); i++) {
		const struct feature_reg *f = &feature_regs[i];
		uint32_t missing = table_reg(source, f->function, f->index, f->reg) &
				   ~table_reg(supported, f->function, f->index, f->reg) &
				   ~table_reg(local, f->function, f->index, f->reg) & ~f->free;

		if (!missing)
			continue;
		report_register(f, missing, m);
		n++;
	}
	return n + missing_layout(source, supported, m);
}
