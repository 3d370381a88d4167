/* SPDX-License-Identifier: Apache-2.0 */
/* VM-wide state in the kernel: the two PICs, the I/O APIC, the PIT; and the section "kvm-vm". */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "guest/x86/arch.h"

#define F(m) MIGD_VMS_FIELD_U8(struct x86_pic, m),
static const struct migd_vmstate pic_vmstate = {
	.name = "kvm-pic",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){ X86_PIC_U8(F) MIGD_VMS_FIELD_END },
};
#undef F

static const struct migd_vmstate ioapic_vmstate = {
	.name = "kvm-ioapic",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U64(struct x86_ioapic, base_address),
		MIGD_VMS_FIELD_U32(struct x86_ioapic, ioregsel),
		MIGD_VMS_FIELD_U32(struct x86_ioapic, id),
		MIGD_VMS_FIELD_U32(struct x86_ioapic, irr),
		MIGD_VMS_FIELD_U64_ARRAY(struct x86_ioapic, redirtbl, KVM_IOAPIC_NUM_PINS),
		MIGD_VMS_FIELD_END,
	},
};

#define F(m) MIGD_VMS_FIELD_U8(struct x86_pit_channel, m),
static const struct migd_vmstate pit_channel_vmstate = {
	.name = "kvm-pit-channel",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U32(struct x86_pit_channel, count),
		MIGD_VMS_FIELD_U16(struct x86_pit_channel, latched_count),
		X86_PIT_U8(F)
		MIGD_VMS_FIELD_U64(struct x86_pit_channel, elapsed_ns),
		MIGD_VMS_FIELD_END,
	},
};
#undef F

static const struct migd_vmstate pit_vmstate = {
	.name = "kvm-pit",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_STRUCT_ARRAY(struct x86_pit, channels, struct x86_pit_channel, 3,
					    &pit_channel_vmstate),
		MIGD_VMS_FIELD_U32(struct x86_pit, flags),
		MIGD_VMS_FIELD_END,
	},
};

static bool irqchip_needed(void *opaque)
{
	return ((struct x86_vm *)opaque)->arch->irqchip;
}

static int irqchip_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	struct x86_vm *vm = opaque;

	(void)version;
	vm->got_irqchip = true;
	return vm->arch->irqchip ? 0 : migd_vmstate_fail(err, -EINVAL, "this VM has no in-kernel irqchip");
}

static const struct migd_vmstate irqchip_subsection = {
	.name = "kvm-vm/irqchip",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_STRUCT_ARRAY(struct x86_vm, pic, struct x86_pic, 2, &pic_vmstate),
		MIGD_VMS_FIELD_STRUCT(struct x86_vm, ioapic, struct x86_ioapic, &ioapic_vmstate),
		MIGD_VMS_FIELD_END,
	},
	.needed = irqchip_needed,
	.post_load = irqchip_post_load,
};

static bool pit_needed(void *opaque)
{
	return ((struct x86_vm *)opaque)->arch->pit;
}

static int pit_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	struct x86_vm *vm = opaque;

	(void)version;
	vm->got_pit = true;
	return vm->arch->pit ? 0 : migd_vmstate_fail(err, -EINVAL, "this VM has no in-kernel PIT");
}

static const struct migd_vmstate pit_subsection = {
	.name = "kvm-vm/pit",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_STRUCT(struct x86_vm, pit, struct x86_pit, &pit_vmstate),
		MIGD_VMS_FIELD_END,
	},
	.needed = pit_needed,
	.post_load = pit_post_load,
};

const struct migd_vmstate x86_vm_vmstate = {
	.name = "kvm-vm",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_STRUCT(struct x86_vm, clock, struct x86_clock, &x86_clock_vmstate),
		MIGD_VMS_FIELD_END,
	},
	.subsections = (const struct migd_vmstate *const[]){ &irqchip_subsection, &pit_subsection,
							     NULL },
};

static int chip_get(struct arch_state *a, uint32_t id, struct kvm_irqchip *chip, struct merr *err)
{
	int r;

	*chip = (struct kvm_irqchip){ .chip_id = id };
	r = x86_ioctl(a->vm_fd, KVM_GET_IRQCHIP, chip, err);
	return r < 0 ? r : 0;
}

static int irqchip_capture(struct arch_state *a, struct merr *err)
{
	struct kvm_irqchip chip;
	int r;

	for (uint32_t id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_PIC_SLAVE; id++) {
		struct x86_pic *pic = &a->vm.pic[id];

		r = chip_get(a, id, &chip, err);
		if (r < 0)
			return r;
#define F(m) pic->m = chip.chip.pic.m;
		X86_PIC_U8(F)
#undef F
	}
	r = chip_get(a, KVM_IRQCHIP_IOAPIC, &chip, err);
	if (r < 0)
		return r;
	a->vm.ioapic = (struct x86_ioapic){
		.base_address = chip.chip.ioapic.base_address,
		.ioregsel = chip.chip.ioapic.ioregsel,
		.id = chip.chip.ioapic.id,
		.irr = chip.chip.ioapic.irr,
	};
	for (size_t i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		a->vm.ioapic.redirtbl[i] = chip.chip.ioapic.redirtbl[i].bits;
	return 0;
}

static int irqchip_apply(struct arch_state *a, struct merr *err)
{
	struct kvm_irqchip chip;
	int r;

	for (uint32_t id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_PIC_SLAVE; id++) {
		const struct x86_pic *pic = &a->vm.pic[id];

		chip = (struct kvm_irqchip){ .chip_id = id };
#define F(m) chip.chip.pic.m = pic->m;
		X86_PIC_U8(F)
#undef F
		r = x86_ioctl(a->vm_fd, KVM_SET_IRQCHIP, &chip, err);
		if (r < 0)
			return r;
	}
	chip = (struct kvm_irqchip){ .chip_id = KVM_IRQCHIP_IOAPIC };
	chip.chip.ioapic.base_address = a->vm.ioapic.base_address;
	chip.chip.ioapic.ioregsel = a->vm.ioapic.ioregsel;
	chip.chip.ioapic.id = a->vm.ioapic.id;
	chip.chip.ioapic.irr = a->vm.ioapic.irr;
	for (size_t i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		chip.chip.ioapic.redirtbl[i].bits = a->vm.ioapic.redirtbl[i];
	r = x86_ioctl(a->vm_fd, KVM_SET_IRQCHIP, &chip, err);
	return r < 0 ? r : 0;
}

static int pit_capture(struct arch_state *a, struct merr *err)
{
	struct kvm_pit_state2 pit = { 0 };
	int r = x86_ioctl(a->vm_fd, KVM_GET_PIT2, &pit, err);
	int64_t now = (int64_t)clock_now_ns();

	if (r < 0)
		return r;
	for (size_t i = 0; i < 3; i++) {
		struct x86_pit_channel *to = &a->vm.pit.channels[i];

		to->count = pit.channels[i].count;
		to->latched_count = pit.channels[i].latched_count;
#define F(m) to->m = pit.channels[i].m;
		X86_PIT_U8(F)
#undef F
		to->elapsed_ns = (uint64_t)(now - pit.channels[i].count_load_time);
	}
	a->vm.pit.flags = pit.flags;
	return 0;
}

static int pit_apply(struct arch_state *a, struct merr *err)
{
	struct kvm_pit_state2 pit = { .flags = a->vm.pit.flags };
	uint64_t now = clock_now_ns();
	int r;

	for (size_t i = 0; i < 3; i++) {
		const struct x86_pit_channel *from = &a->vm.pit.channels[i];

		pit.channels[i].count = from->count;
		pit.channels[i].latched_count = from->latched_count;
#define F(m) pit.channels[i].m = from->m;
		X86_PIT_U8(F)
#undef F
		pit.channels[i].count_load_time = (int64_t)(now - from->elapsed_ns);
	}
	r = x86_ioctl(a->vm_fd, KVM_SET_PIT2, &pit, err);
	return r < 0 ? r : 0;
}

/* The PIT and the chips before the LAPICs: KVM.md 2. */
int x86_vm_capture(struct arch_state *a, struct merr *err)
{
	int r = 0;

	if (a->pit)
		r = pit_capture(a, err);
	if (r == 0 && a->irqchip)
		r = irqchip_capture(a, err);
	return r;
}

int x86_vm_apply(struct arch_state *a, struct merr *err)
{
	int r = 0;

	if (a->vm.got_irqchip != a->irqchip || a->vm.got_pit != a->pit)
		return merr_set(err, -EPROTO, "section 'kvm-vm' instance 0: the %s's state did not come",
				a->vm.got_irqchip != a->irqchip ? "irqchip" : "PIT");
	if (a->irqchip)
		r = irqchip_apply(a, err);
	if (r == 0 && a->pit)
		r = pit_apply(a, err);
	return r;
}
