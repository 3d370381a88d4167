/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers: which ones, and setting them in the order they depend on each other.
 *
 * KVM_GET_MSRS and KVM_SET_MSRS stop at the first one they refuse and return how many were done: a short count is not an
 * error. A register that cannot be read is noted and left out. One that cannot be written is noted if that does no
 * harm (its value is zero, or is there already) and fails the load otherwise: the guest would miss it.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm_para.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "guest/x86/arch.h"

#define MSR_WALL_CLOCK_OLD 0x11U
#define MSR_FEATURE_CONTROL 0x3aU
#define MSR_MCG_CAP 0x179U
#define MSR_MC0_CTL 0x400U
#define MCE_BANK_MSRS 4U
#define MCE_BANKS_MAX 32U

/* KVM leaves these out of KVM_GET_MSR_INDEX_LIST: MTRRs and PAT. */
static const struct {
	uint32_t first, last;
} unlisted[] = {
	{ 0x200, 0x20f }, { 0x250, 0x250 }, { 0x258, 0x259 }, { 0x268, 0x26f }, { 0x277, 0x277 }, { 0x2ff, 0x2ff },
};

static const struct {
	uint32_t index;
	const char *name;
} names[] = {
	{ 0x10, "IA32_TSC" },
	{ 0x11, "KVM_WALL_CLOCK" },
	{ 0x12, "KVM_SYSTEM_TIME" },
	{ 0x34, "SMI_COUNT" },
	{ 0x3a, "IA32_FEATURE_CONTROL" },
	{ 0x3b, "IA32_TSC_ADJUST" },
	{ 0x48, "IA32_SPEC_CTRL" },
	{ 0x8b, "IA32_UCODE_REV" },
	{ 0xce, "PLATFORM_INFO" },
	{ 0xe1, "IA32_UMWAIT_CONTROL" },
	{ 0x10a, "IA32_ARCH_CAPABILITIES" },
	{ 0x122, "IA32_TSX_CTRL" },
	{ 0x140, "MISC_FEATURES_ENABLES" },
	{ 0x174, "IA32_SYSENTER_CS" },
	{ 0x175, "IA32_SYSENTER_ESP" },
	{ 0x176, "IA32_SYSENTER_EIP" },
	{ 0x17a, "IA32_MCG_STATUS" },
	{ 0x17b, "IA32_MCG_CTL" },
	{ 0x1a0, "IA32_MISC_ENABLE" },
	{ 0x1c4, "IA32_XFD" },
	{ 0x1c5, "IA32_XFD_ERR" },
	{ 0x1d9, "IA32_DEBUGCTL" },
	{ 0x1fc, "IA32_POWER_CTL" },
	{ 0x277, "IA32_PAT" },
	{ 0x2ff, "MTRR_DEF_TYPE" },
	{ 0x345, "IA32_PERF_CAPABILITIES" },
	{ 0x6e0, "IA32_TSC_DEADLINE" },
	{ 0xda0, "IA32_XSS" },
	{ MSR_KVM_WALL_CLOCK_NEW, "KVM_WALL_CLOCK_NEW" },
	{ MSR_KVM_SYSTEM_TIME_NEW, "KVM_SYSTEM_TIME_NEW" },
	{ MSR_KVM_ASYNC_PF_EN, "KVM_ASYNC_PF_EN" },
	{ MSR_KVM_STEAL_TIME, "KVM_STEAL_TIME" },
	{ MSR_KVM_PV_EOI_EN, "KVM_PV_EOI_EN" },
	{ MSR_KVM_POLL_CONTROL, "KVM_POLL_CONTROL" },
	{ MSR_KVM_ASYNC_PF_INT, "KVM_ASYNC_PF_INT" },
	{ MSR_KVM_ASYNC_PF_ACK, "KVM_ASYNC_PF_ACK" },
	{ MSR_KVM_MIGRATION_CONTROL, "KVM_MIGRATION_CONTROL" },
	{ 0xc0000080, "EFER" },
	{ 0xc0000081, "STAR" },
	{ 0xc0000082, "LSTAR" },
	{ 0xc0000083, "CSTAR" },
	{ 0xc0000084, "SYSCALL_MASK" },
	{ 0xc0000102, "KERNEL_GS_BASE" },
	{ 0xc0000103, "TSC_AUX" },
	{ 0xc0010015, "K7_HWCR" },
	{ 0xc0010117, "VM_HSAVE_PA" },
	{ 0xc001011f, "AMD64_VIRT_SPEC_CTRL" },
};

const char *x86_msr_name(uint32_t index)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].index == index)
			return names[i].name;
	return "";
}

/* struct kvm_msrs as KVM_GET_MSRS and KVM_SET_MSRS take it, with room for one or for all that we can hold. */
struct msr_one {
	uint32_t n, pad;
	struct kvm_msr_entry entry;
};
_Static_assert(offsetof(struct msr_one, entry) == sizeof(struct kvm_msrs), "the entry follows the head");

struct msr_many {
	uint32_t n, pad;
	struct kvm_msr_entry entries[X86_MSRS_MAX];
};
_Static_assert(offsetof(struct msr_many, entries) == sizeof(struct kvm_msrs), "entries follow the head");

int x86_msr_get(int fd, uint32_t index, uint64_t *ret)
{
	struct msr_one k = { .n = 1, .entry.index = index };
	int r = ioctl(fd, KVM_GET_MSRS, &k);

	if (r == 1)
		*ret = k.entry.data;
	return r < 0 ? -errno : r;
}

int x86_msr_set(int fd, uint32_t index, uint64_t value)
{
	struct msr_one k = { .n = 1, .entry = { .index = index, .data = value } };
	int r = ioctl(fd, KVM_SET_MSRS, &k);

	return r < 0 ? -errno : r;
}

static bool list_has(const uint32_t *list, uint32_t n, uint32_t index)
{
	for (uint32_t i = 0; i < n; i++)
		if (list[i] == index)
			return true;
	return false;
}

static void list_add(struct arch_state *a, uint32_t index)
{
	/* These two have fields and an order of their own. */
	if (index == X86_MSR_TSC || index == X86_MSR_TSC_DEADLINE)
		return;
	if (a->n_msr_list < X86_MSRS_MAX && !list_has(a->msr_list, a->n_msr_list, index))
		a->msr_list[a->n_msr_list++] = index;
}

/* KVM_GET_MSR_INDEX_LIST or its like, into RET (of X86_MSRS_MAX). */
static int read_list(int fd, unsigned long request, const char *name, uint32_t *ret, uint32_t *ret_n,
		     struct merr *err)
{
	struct {	/* struct kvm_msr_list */
		uint32_t n;
		uint32_t indices[X86_MSRS_MAX];
	} k = { .n = X86_MSRS_MAX };
	int r = x86_ioctl_named(fd, request, name, &k, err);

	if (r < 0)
		return r;
	memcpy(ret, k.indices, k.n * sizeof(*ret));
	*ret_n = k.n;
	return 0;
}

static void add_unlisted(struct arch_state *a)
{
	uint64_t mcg_cap = 0;

	for (size_t i = 0; i < ARRAY_SIZE(unlisted); i++)
		for (uint32_t index = unlisted[i].first; index <= unlisted[i].last; index++)
			list_add(a, index);
	if (x86_msr_get(a->vcpus[0].fd, MSR_MCG_CAP, &mcg_cap) == 1)
		for (uint32_t i = 0; i < MCE_BANK_MSRS * min_u64(mcg_cap & 0xff, MCE_BANKS_MAX); i++)
			list_add(a, MSR_MC0_CTL + i);
}

/* Only what can be read: asked once, on the first vCPU. */
static void drop_unreadable(struct arch_state *a)
{
	uint32_t n = 0;
	uint64_t value;

	for (uint32_t i = 0; i < a->n_msr_list; i++)
		if (x86_msr_get(a->vcpus[0].fd, a->msr_list[i], &value) == 1)
			a->msr_list[n++] = a->msr_list[i];
	a->n_msr_list = n;
}

int x86_msr_probe(struct arch_state *a, struct merr *err)
{
	uint32_t all[X86_MSRS_MAX], n;
	int r;

	r = read_list(a->kvm_fd, KVM_GET_MSR_INDEX_LIST, "KVM_GET_MSR_INDEX_LIST", all, &n, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n; i++)
		list_add(a, all[i]);
	/* Without the feature list (before Linux 4.17) there is nothing to set early. */
	if (x86_extension(a->vm_fd, KVM_CAP_GET_MSR_FEATURES)) {
		r = read_list(a->kvm_fd, KVM_GET_MSR_FEATURE_INDEX_LIST, "KVM_GET_MSR_FEATURE_INDEX_LIST",
			      a->feature_list, &a->n_feature_list, err);
		if (r < 0)
			return r;
		for (uint32_t i = 0; i < a->n_feature_list; i++)
			list_add(a, a->feature_list[i]);
	}
	add_unlisted(a);
	drop_unreadable(a);
	return 0;
}

static void note_unreadable(struct x86_vcpu *v, uint32_t index)
{
	x86_note(v->arch, "vCPU %u: MSR 0x%x %s cannot be read and is left out", v->index, index,
		 x86_msr_name(index));
}

int x86_msrs_capture(struct x86_vcpu *v, struct merr *err)
{
	const struct arch_state *a = v->arch;
	struct msr_many k;
	uint32_t next = 0;

	v->n_msrs = 0;
	while (next < a->n_msr_list) {
		uint32_t n = a->n_msr_list - next;
		int done;

		k.n = n;
		k.pad = 0;
		for (uint32_t i = 0; i < n; i++)
			k.entries[i] = (struct kvm_msr_entry){ .index = a->msr_list[next + i] };
		done = x86_ioctl(v->fd, KVM_GET_MSRS, &k, err);
		if (done < 0)
			return done;
		for (int i = 0; i < done; i++)
			v->msrs[v->n_msrs++] =
				(struct x86_msr){ k.entries[i].index, k.entries[i].data };
		next += (uint32_t)done;
		if ((uint32_t)done < n)
			note_unreadable(v, a->msr_list[next++]);
	}
	return 0;
}

static enum x86_msr_phase msr_phase(const struct arch_state *a, uint32_t index)
{
	switch (index) {
	case MSR_FEATURE_CONTROL:
		return X86_MSR_FEATURE_CONTROL;
	case MSR_KVM_ASYNC_PF_EN:
		return X86_MSR_ASYNC_PF;
	case MSR_WALL_CLOCK_OLD:
	case MSR_KVM_WALL_CLOCK_NEW:
		return X86_MSR_AT_RESUME;
	default:
		return list_has(a->feature_list, a->n_feature_list, index) ? X86_MSR_FEATURE :
									    X86_MSR_ORDINARY;
	}
}

/* KVM does not take M: does that matter? */
static int msr_refused(struct x86_vcpu *v, enum x86_msr_phase phase, const struct kvm_msr_entry *m,
		       struct merr *err)
{
	uint64_t now = ~m->data;

	if (x86_msr_get(v->fd, m->index, &now) == 1 && now == m->data)
		return 0;
	if (m->data == 0 && phase != X86_MSR_FEATURE) {
		x86_note(v->arch, "vCPU %u: MSR 0x%x %s is 0 at the source and cannot be set here",
			 v->index, m->index, x86_msr_name(m->index));
		return 0;
	}
	return merr_set(err, -EINVAL,
			"MSR 0x%x %s: this host's KVM refuses the source's value 0x%" PRIx64
			": choose a host with the same CPU features",
			m->index, x86_msr_name(m->index), (uint64_t)m->data);
}

/* What the CPU is may be frozen already; equal is good enough, and saves writing. */
static bool msr_is_set(const struct x86_vcpu *v, const struct x86_msr *m)
{
	uint64_t now = 0;

	return x86_msr_get(v->fd, m->index, &now) == 1 && now == m->value;
}

int x86_msrs_apply(struct x86_vcpu *v, enum x86_msr_phase phase, struct merr *err)
{
	struct msr_many k;
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->n_msrs; i++) {
		const struct x86_msr *m = &v->msrs[i];

		/* A stream may name these two here; they have fields of their own. */
		if (m->index == X86_MSR_TSC || m->index == X86_MSR_TSC_DEADLINE ||
		    msr_phase(v->arch, m->index) != phase ||
		    (phase == X86_MSR_FEATURE && msr_is_set(v, m)))
			continue;
		k.entries[n++] = (struct kvm_msr_entry){ .index = m->index, .data = m->value };
	}
	while (n) {
		int done, r;

		k.n = n;
		k.pad = 0;
		done = x86_ioctl(v->fd, KVM_SET_MSRS, &k, err);
		if (done < 0)
			return done;
		if ((uint32_t)done >= n)
			break;
		r = msr_refused(v, phase, &k.entries[done], err);
		if (r < 0)
			return r;
		/* Go on behind it. */
		n -= (uint32_t)done + 1;
		memmove(k.entries, k.entries + done + 1, n * sizeof(k.entries[0]));
	}
	return 0;
}
