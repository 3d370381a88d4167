/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU at power-on. KVM has no call that resets a vCPU, so its state is read once after creation and written back at
 * every reset; then the registers that the boot source wants are set.
 */
#include <asm/kvm.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/machine.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

#define MSRS_MAX 1024
#define MSR_TSC 0x10		/* counts on */
#define MSR_TSC_ADJUST 0x3b	/* likewise */
#define XSAVE_MIN 4096
#define RFLAGS_FIXED 2
#define XCR0 0

struct power_on {
	struct kvm_mp_state mp_state;
	struct kvm_vcpu_events events;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_debugregs debugregs;
	struct kvm_xsave *xsave;
	struct kvm_msrs *msrs;
};

/* What is read and written in one call each. The order is that of writing. */
static const struct state_row {
	const char *name;
	size_t offset;
	unsigned long get, set;
} rows[] = {
#define ROW(m, what) { #what, offsetof(struct power_on, m), KVM_GET_##what, KVM_SET_##what }
	ROW(sregs, SREGS),	  ROW(regs, REGS),     ROW(xcrs, XCRS),
	ROW(lapic, LAPIC),	  ROW(events, VCPU_EVENTS), ROW(debugregs, DEBUGREGS),
	ROW(mp_state, MP_STATE),
#undef ROW
};

static int get_xsave(struct vcpu *v, struct power_on *p)
{
	int len = ioctl(v->machine->kvm.vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	p->xsave = calloc(1, len > XSAVE_MIN ? (size_t)len : XSAVE_MIN);
	if (!p->xsave)
		return fail(-ENOMEM, "out of memory");
	if (ioctl(v->fd, len > 0 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, p->xsave) < 0)
		return fail(-errno, "vCPU %u: KVM_GET_XSAVE: %m", v->index);
	return 0;
}

/* NULL: logged. */
static struct kvm_msr_list *list_msrs(struct vcpu *v)
{
	_cleanup_free_ struct kvm_msr_list *list =
		calloc(1, sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
	if (!list) {
		note(LOG_ERR, "out of memory");
		return NULL;
	}
	list->nmsrs = MSRS_MAX;
	if (ioctl(v->machine->kvm.fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
		note(LOG_ERR, "KVM_GET_MSR_INDEX_LIST: %m");
		return NULL;
	}
	struct kvm_msr_list *ret = list;
	list = NULL;
	return ret;
}

/* One MSR at a time, since KVM stops at the first that it does not like. */
static bool msr_ioctl(struct vcpu *v, unsigned long request, struct kvm_msr_entry *msr)
{
	_Alignas(struct kvm_msrs) uint8_t buf[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	struct kvm_msrs *one = (struct kvm_msrs *)buf;
	*one = (struct kvm_msrs){ .nmsrs = 1 };
	one->entries[0] = *msr;
	if (ioctl(v->fd, request, one) != 1)
		return false;
	*msr = one->entries[0];
	return true;
}

/* Those that can be read. */
static int get_msrs(struct vcpu *v, struct power_on *p)
{
	_cleanup_free_ struct kvm_msr_list *list = list_msrs(v);
	if (!list)
		return -EIO;
	p->msrs = calloc(1, sizeof(*p->msrs) + list->nmsrs * sizeof(p->msrs->entries[0]));
	if (!p->msrs)
		return fail(-ENOMEM, "out of memory");
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		struct kvm_msr_entry msr = { .index = list->indices[i] };
		if (msr.index == MSR_TSC || msr.index == MSR_TSC_ADJUST)
			continue;
		if (msr_ioctl(v, KVM_GET_MSRS, &msr))
			p->msrs->entries[p->msrs->nmsrs++] = msr;
	}
	return 0;
}

/* Some MSRs cannot be written even with the value they have; those have not changed either. */
static void set_msrs(struct vcpu *v, const struct kvm_msrs *msrs)
{
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		struct kvm_msr_entry msr = msrs->entries[i];
		(void)msr_ioctl(v, KVM_SET_MSRS, &msr);
	}
}

static int get_rows(struct vcpu *v, struct power_on *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (ioctl(v->fd, rows[i].get, (char *)p + rows[i].offset) < 0)
			return fail(-errno, "vCPU %u: KVM_GET_%s: %m", v->index, rows[i].name);
	return 0;
}

int power_on_save(struct vcpu *v, struct power_on **ret)
{
	struct power_on *p = calloc(1, sizeof(*p));
	if (!p)
		return fail(-ENOMEM, "out of memory");
	int r = get_rows(v, p);
	if (r == 0)
		r = get_xsave(v, p);
	if (r == 0)
		r = get_msrs(v, p);
	if (r < 0)
		(void)power_on_free(p);
	else
		*ret = p;
	return r;
}

struct power_on *power_on_free(struct power_on *p)
{
	if (!p)
		return NULL;
	free(p->xsave);
	free(p->msrs);
	free(p);
	return NULL;
}

static void enter_real_mode(struct power_on *p, const struct boot_entry *entry)
{
	p->sregs.cs.base = 0;
	p->sregs.cs.selector = 0;
	p->regs = (struct kvm_regs){ .rflags = RFLAGS_FIXED, .rip = entry->rip,
				     .rsp = entry->rip, .rdx = entry->rdx };
}

static void enter_long_mode(struct vcpu *v, struct power_on *p, const struct boot_entry *entry)
{
	long_mode_set_sregs(v->machine, &p->sregs);
	p->regs = (struct kvm_regs){ .rflags = RFLAGS_FIXED, .rip = entry->rip,
				     .rsp = PAYLOAD_STACK_TOP(v->index), .rdi = v->index,
				     .rsi = entry->rsi };
	uint64_t xcr0 = long_mode_xcr0(v->machine);
	for (uint32_t i = 0; xcr0 && i < p->xcrs.nr_xcrs; i++)
		if (p->xcrs.xcrs[i].xcr == XCR0)
			p->xcrs.xcrs[i].value = xcr0;
}

/* On the vCPU's thread. The others than the first keep waiting for a start-up IPI, as KVM made them, unless ENTRY says. */
int power_on_enter(struct vcpu *v, const struct boot_entry *entry)
{
	struct power_on now = *v->power_on;
	bool enters = v->index == 0 || entry->all_vcpus;
	if (enters && entry->long_mode)
		enter_long_mode(v, &now, entry);
	else if (enters)
		enter_real_mode(&now, entry);
	if (enters)
		now.mp_state.mp_state = KVM_MP_STATE_RUNNABLE;
	set_msrs(v, now.msrs);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (ioctl(v->fd, rows[i].set, (char *)&now + rows[i].offset) < 0)
			return fail(-errno, "vCPU %u: KVM_SET_%s: %m", v->index, rows[i].name);
	if (ioctl(v->fd, KVM_SET_XSAVE, now.xsave) < 0)
		return fail(-errno, "vCPU %u: KVM_SET_XSAVE: %m", v->index);
	return 0;
}
