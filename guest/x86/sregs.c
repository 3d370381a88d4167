/* SPDX-License-Identifier: Apache-2.0 */
/* Special registers: segments, descriptor tables, control registers, EFER, APIC base. */
#include <errno.h>
#include <string.h>

#include "guest/x86/arch.h"


#define SREGS2_FLAGS_KNOWN KVM_SREGS2_FLAGS_PDPTRS_VALID

#define F(m) MIGD_VMS_FIELD_U8(struct x86_segment, m),
static const struct migd_vmstate segment_vmstate = {
	.name = "kvm-segment",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U64(struct x86_segment, base),
		MIGD_VMS_FIELD_U32(struct x86_segment, limit),
		MIGD_VMS_FIELD_U16(struct x86_segment, selector),
		X86_SEGMENT_U8(F)
		MIGD_VMS_FIELD_END,
	},
};
#undef F

static const struct migd_vmstate dtable_vmstate = {
	.name = "kvm-dtable",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U64(struct x86_dtable, base),
		MIGD_VMS_FIELD_U16(struct x86_dtable, limit),
		MIGD_VMS_FIELD_END,
	},
};

#define SEGMENT(m) MIGD_VMS_FIELD_STRUCT(struct x86_sregs, m, struct x86_segment, &segment_vmstate),
#define REGISTER(m) MIGD_VMS_FIELD_U64(struct x86_sregs, m),
const struct migd_vmstate x86_sregs_vmstate = {
	.name = "kvm-sregs",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		X86_SREGS_SEGMENTS(SEGMENT)
		MIGD_VMS_FIELD_STRUCT(struct x86_sregs, gdt, struct x86_dtable, &dtable_vmstate),
		MIGD_VMS_FIELD_STRUCT(struct x86_sregs, idt, struct x86_dtable, &dtable_vmstate),
		X86_SREGS_U64(REGISTER)
		MIGD_VMS_FIELD_BOOL(struct x86_sregs, sregs2),
		MIGD_VMS_FIELD_U64(struct x86_sregs, flags),
		MIGD_VMS_FIELD_U64_ARRAY(struct x86_sregs, pdptrs, 4),
		MIGD_VMS_FIELD_U64_ARRAY(struct x86_sregs, interrupt_bitmap, 4),
		MIGD_VMS_FIELD_END,
	},
};

static void segment_from_kvm(struct x86_segment *to, const struct kvm_segment *from)
{
	to->base = from->base;
	to->limit = from->limit;
	to->selector = from->selector;
#define F(m) to->m = from->m;
	X86_SEGMENT_U8(F)
#undef F
}

static struct kvm_segment segment_to_kvm(const struct x86_segment *from)
{
	struct kvm_segment to = { .base = from->base, .limit = from->limit, .selector = from->selector };

#define F(m) to.m = from->m;
	X86_SEGMENT_U8(F)
#undef F
	return to;
}

/* The members that kvm_sregs and kvm_sregs2 have alike, TO ours. */
#define SEGMENT_IN(m) segment_from_kvm(&to->m, &from.m);
#define REGISTER_IN(m) to->m = from.m;
#define SREGS_IN                                                              \
	X86_SREGS_SEGMENTS(SEGMENT_IN)                                        \
	X86_SREGS_U64(REGISTER_IN)                                            \
	to->gdt = (struct x86_dtable){ from.gdt.base, from.gdt.limit };       \
	to->idt = (struct x86_dtable){ from.idt.base, from.idt.limit };

#define SEGMENT_OUT(m) to.m = segment_to_kvm(&from->m);
#define REGISTER_OUT(m) to.m = from->m;
#define SREGS_OUT                                                                              \
	X86_SREGS_SEGMENTS(SEGMENT_OUT)                                                        \
	X86_SREGS_U64(REGISTER_OUT)                                                            \
	to.gdt = (struct kvm_dtable){ .base = from->gdt.base, .limit = from->gdt.limit };      \
	to.idt = (struct kvm_dtable){ .base = from->idt.base, .limit = from->idt.limit };

int x86_sregs_capture(struct x86_vcpu *v, struct merr *err)
{
	struct x86_sregs *to = &v->sregs;
	int r;

	memset(to, 0, sizeof(*to));
	to->sregs2 = v->arch->has_sregs2;
	if (to->sregs2) {
		struct kvm_sregs2 from;

		r = x86_ioctl(v->fd, KVM_GET_SREGS2, &from, err);
		if (r < 0)
			return r;
		SREGS_IN
		to->flags = from.flags;
		for (size_t i = 0; i < 4; i++)
			to->pdptrs[i] = from.pdptrs[i];
	} else {
		struct kvm_sregs from;

		r = x86_ioctl(v->fd, KVM_GET_SREGS, &from, err);
		if (r < 0)
			return r;
		SREGS_IN
		for (size_t i = 0; i < 4; i++)
			to->interrupt_bitmap[i] = from.interrupt_bitmap[i];
	}
	return 0;
}

/* Without an in-kernel LAPIC, KVM_RUN takes these two from the shared page. */
static void run_page_apply(struct x86_vcpu *v)
{
	if (v->arch->lapic || !v->run)
		return;
	v->run->cr8 = v->sregs.cr8;
	v->run->apic_base = v->sregs.apic_base;
}

int x86_sregs_apply(struct x86_vcpu *v, struct merr *err)
{
	const struct x86_sregs *from = &v->sregs;
	int r;

	if (from->flags & ~(uint64_t)SREGS2_FLAGS_KNOWN)
		return merr_set(err, -EINVAL, "section 'kvm-vcpu': field 'sregs.flags': 0x%llx is not known here",
				(unsigned long long)from->flags);
	run_page_apply(v);
	if (from->sregs2 && v->arch->has_sregs2) {
		struct kvm_sregs2 to = { .flags = from->flags };

		SREGS_OUT
		for (size_t i = 0; i < 4; i++)
			to.pdptrs[i] = from->pdptrs[i];
		r = x86_ioctl(v->fd, KVM_SET_SREGS2, &to, err);
	} else {
		/* The PDPTRs are then read from memory; a pending interrupt is among the events as well. */
		struct kvm_sregs to = { 0 };

		SREGS_OUT
		for (size_t i = 0; i < 4; i++)
			to.interrupt_bitmap[i] = from->interrupt_bitmap[i];
		r = x86_ioctl(v->fd, KVM_SET_SREGS, &to, err);
	}
	return r < 0 ? r : 0;
}
