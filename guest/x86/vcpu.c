/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's section, "kvm-vcpu": general registers, events, MP state, debug registers, LAPIC. */
#include <errno.h>
#include <string.h>

#include "guest/x86/arch.h"

#define F(m) MIGD_VMS_FIELD_U64(struct x86_regs, m),
static const struct migd_vmstate regs_vmstate = {
	.name = "kvm-regs",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){ X86_REGS(F) MIGD_VMS_FIELD_END },
};
#undef F

#define F(m) MIGD_VMS_FIELD_U8(struct x86_events, m),
static const struct migd_vmstate events_vmstate = {
	.name = "kvm-events",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		X86_EVENTS_U8(F)
		MIGD_VMS_FIELD_U32(struct x86_events, exception_error_code),
		MIGD_VMS_FIELD_U64(struct x86_events, exception_payload),
		MIGD_VMS_FIELD_U32(struct x86_events, sipi_vector),
		MIGD_VMS_FIELD_U32(struct x86_events, flags),
		MIGD_VMS_FIELD_END,
	},
};
#undef F

static const struct migd_vmstate debugregs_vmstate = {
	.name = "kvm-debugregs",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U64_ARRAY(struct x86_debugregs, db, 4),
		MIGD_VMS_FIELD_U64(struct x86_debugregs, dr6),
		MIGD_VMS_FIELD_U64(struct x86_debugregs, dr7),
		MIGD_VMS_FIELD_U64(struct x86_debugregs, flags),
		MIGD_VMS_FIELD_END,
	},
};

static const struct migd_vmstate xcr_vmstate = {
	.name = "kvm-xcr",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U32(struct x86_xcr, index),
		MIGD_VMS_FIELD_U64(struct x86_xcr, value),
		MIGD_VMS_FIELD_END,
	},
};

static const struct migd_vmstate msr_vmstate = {
	.name = "kvm-msr",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U32(struct x86_msr, index),
		MIGD_VMS_FIELD_U64(struct x86_msr, value),
		MIGD_VMS_FIELD_END,
	},
};

static bool lapic_needed(void *opaque)
{
	return ((struct x86_vcpu *)opaque)->arch->lapic;
}

static int lapic_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	struct x86_vcpu *v = opaque;

	(void)version;
	v->got_lapic = true;
	return v->arch->lapic ? 0 : migd_vmstate_fail(err, -EINVAL, "this VM has no in-kernel local APIC");
}

static const struct migd_vmstate lapic_subsection = {
	.name = "kvm-vcpu/lapic",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_BUFFER(struct x86_vcpu, lapic),
		MIGD_VMS_FIELD_END,
	},
	.needed = lapic_needed,
	.post_load = lapic_post_load,
};

static int vcpu_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	struct x86_vcpu *v = opaque;

	(void)version;
	if (v->got_lapic != v->arch->lapic)
		return migd_vmstate_fail(err, -EPROTO, "the local APIC's state did not come");
	return 0;
}

const struct migd_vmstate x86_vcpu_vmstate = {
	.name = "kvm-vcpu",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U32(struct x86_vcpu, mp_state),
		MIGD_VMS_FIELD_STRUCT(struct x86_vcpu, events, struct x86_events, &events_vmstate),
		MIGD_VMS_FIELD_STRUCT(struct x86_vcpu, regs, struct x86_regs, &regs_vmstate),
		MIGD_VMS_FIELD_STRUCT(struct x86_vcpu, sregs, struct x86_sregs, &x86_sregs_vmstate),
		MIGD_VMS_FIELD_STRUCT(struct x86_vcpu, debugregs, struct x86_debugregs,
				      &debugregs_vmstate),
		MIGD_VMS_FIELD_U32(struct x86_vcpu, n_xcrs),
		MIGD_VMS_FIELD_STRUCT_VARRAY(struct x86_vcpu, xcrs, struct x86_xcr, X86_XCRS_MAX, n_xcrs,
					     &xcr_vmstate),
		MIGD_VMS_FIELD_U32(struct x86_vcpu, xsave_size),
		MIGD_VMS_FIELD_U32(struct x86_vcpu, xsave_len),
		MIGD_VMS_FIELD_U8_VARRAY(struct x86_vcpu, xsave, X86_XSAVE_MAX, xsave_len),
		MIGD_VMS_FIELD_U32(struct x86_vcpu, n_msrs),
		MIGD_VMS_FIELD_STRUCT_VARRAY(struct x86_vcpu, msrs, struct x86_msr, X86_MSRS_MAX, n_msrs,
					     &msr_vmstate),
		MIGD_VMS_FIELD_U64(struct x86_vcpu, tsc),
		MIGD_VMS_FIELD_U64(struct x86_vcpu, tsc_deadline),
		MIGD_VMS_FIELD_U32(struct x86_vcpu, tsc_khz),
		MIGD_VMS_FIELD_BOOL(struct x86_vcpu, has_tsc_offset),
		MIGD_VMS_FIELD_U64(struct x86_vcpu, tsc_offset),
		MIGD_VMS_FIELD_END,
	},
	.subsections = (const struct migd_vmstate *const[]){ &lapic_subsection, &x86_nested_vmstate,
							     NULL },
	.post_load = vcpu_post_load,
};

int x86_mp_state_capture(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_mp_state mp;
	int r = x86_ioctl(v->fd, KVM_GET_MP_STATE, &mp, err);

	if (r < 0)
		return r;
	v->mp_state = mp.mp_state;
	return 0;
}

int x86_mp_state_apply(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_mp_state mp = { .mp_state = v->mp_state };
	int r = x86_ioctl(v->fd, KVM_SET_MP_STATE, &mp, err);

	return r < 0 ? r : 0;
}

/* Our flat names for the kernel's nested ones. */
#define EVENTS_PAIRS(P)                                                                         \
	P(exception_injected, exception.injected) P(exception_nr, exception.nr)                 \
	P(exception_has_error_code, exception.has_error_code)                                   \
	P(exception_pending, exception.pending) P(exception_error_code, exception.error_code)   \
	P(exception_has_payload, exception_has_payload) P(exception_payload, exception_payload) \
	P(interrupt_injected, interrupt.injected) P(interrupt_nr, interrupt.nr)                 \
	P(interrupt_soft, interrupt.soft) P(interrupt_shadow, interrupt.shadow)                 \
	P(nmi_injected, nmi.injected) P(nmi_pending, nmi.pending) P(nmi_masked, nmi.masked)     \
	P(smi_smm, smi.smm) P(smi_pending, smi.pending) P(smi_inside_nmi, smi.smm_inside_nmi)   \
	P(smi_latched_init, smi.latched_init) P(triple_fault_pending, triple_fault.pending)     \
	P(sipi_vector, sipi_vector) P(flags, flags)

int x86_events_capture(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_vcpu_events k = { 0 };
	int r = x86_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &k, err);

	if (r < 0)
		return r;
#define P(ours, theirs) v->events.ours = k.theirs;
	EVENTS_PAIRS(P)
#undef P
	return 0;
}

/* The flags go back as they came: they say which members count. */
int x86_events_apply(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_vcpu_events k = { 0 };
	int r;

#define P(ours, theirs) k.theirs = v->events.ours;
	EVENTS_PAIRS(P)
#undef P
	r = x86_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &k, err);
	if (r == -EINVAL)
		return merr_prefix(err, "events with flags 0x%x (the target VM must have the source's KVM capabilities enabled)",
				   v->events.flags);
	return r < 0 ? r : 0;
}

int x86_regs_capture(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_regs k;
	int r = x86_ioctl(v->fd, KVM_GET_REGS, &k, err);

	if (r < 0)
		return r;
#define F(m) v->regs.m = k.m;
	X86_REGS(F)
#undef F
	return 0;
}

int x86_regs_apply(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_regs k;
	int r;

#define F(m) k.m = v->regs.m;
	X86_REGS(F)
#undef F
	r = x86_ioctl(v->fd, KVM_SET_REGS, &k, err);
	return r < 0 ? r : 0;
}

int x86_lapic_capture(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_lapic_state k;
	int r;

	if (!v->arch->lapic)
		return 0;
	_Static_assert(sizeof(k.regs) == sizeof(v->lapic), "a LAPIC is its register page's first KiB");
	r = x86_ioctl(v->fd, KVM_GET_LAPIC, &k, err);
	if (r < 0)
		return r;
	memcpy(v->lapic, k.regs, sizeof(v->lapic));
	return 0;
}

int x86_lapic_apply(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_lapic_state k;
	int r;

	if (!v->arch->lapic)
		return 0;
	memcpy(k.regs, v->lapic, sizeof(v->lapic));
	r = x86_ioctl(v->fd, KVM_SET_LAPIC, &k, err);
	return r < 0 ? r : 0;
}

int x86_debugregs_capture(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_debugregs k;
	int r = x86_ioctl(v->fd, KVM_GET_DEBUGREGS, &k, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < 4; i++)
		v->debugregs.db[i] = k.db[i];
	v->debugregs.dr6 = k.dr6;
	v->debugregs.dr7 = k.dr7;
	v->debugregs.flags = k.flags;
	return 0;
}

int x86_debugregs_apply(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_debugregs k = { .dr6 = v->debugregs.dr6,
				   .dr7 = v->debugregs.dr7,
				   .flags = v->debugregs.flags };
	int r;

	for (size_t i = 0; i < 4; i++)
		k.db[i] = v->debugregs.db[i];
	r = x86_ioctl(v->fd, KVM_SET_DEBUGREGS, &k, err);
	return r < 0 ? r : 0;
}
