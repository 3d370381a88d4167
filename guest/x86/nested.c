/* SPDX-License-Identifier: Apache-2.0 */
/* State of a guest's own hypervisor (KVM_GET_NESTED_STATE), where KVM can save it and the guest uses it. */
#include <errno.h>
#include <string.h>

#include "guest/x86/arch.h"

#define NESTED_HEADER_SIZE sizeof(struct kvm_nested_state)

static bool nested_needed(void *opaque)
{
	return ((struct x86_vcpu *)opaque)->nested_len > 0;
}

const struct migd_vmstate x86_nested_vmstate = {
	.name = "kvm-vcpu/nested",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U32(struct x86_vcpu, nested_len),
		MIGD_VMS_FIELD_U8_VARRAY(struct x86_vcpu, nested, X86_NESTED_MAX, nested_len),
		MIGD_VMS_FIELD_END,
	},
	.needed = nested_needed,
};

/* As it is after a reset: no VMXON, or no VMRUN and the global interrupt flag set. */
static bool nested_is_default(const struct kvm_nested_state *s)
{
	if (s->size > NESTED_HEADER_SIZE)
		return false;
	if (s->format == KVM_STATE_NESTED_FORMAT_VMX)
		return s->flags == 0 && s->hdr.vmx.vmxon_pa == UINT64_MAX;
	return (s->flags & ~(uint16_t)KVM_STATE_NESTED_GIF_SET) == 0;
}

int x86_nested_capture(struct x86_vcpu *v, struct merr *err)
{
	union {
		struct kvm_nested_state state;
		uint8_t bytes[X86_NESTED_MAX];
	} k;
	int r;

	v->nested_len = 0;
	if (!v->arch->nested_size)
		return 0;
	memset(&k, 0, sizeof(k));
	k.state.size = v->arch->nested_size;
	r = x86_ioctl(v->fd, KVM_GET_NESTED_STATE, &k, err);
	if (r < 0)
		return r;
	if (nested_is_default(&k.state))
		return 0;
	if (k.state.size > v->arch->nested_size)
		return merr_set(err, -EIO, "KVM_GET_NESTED_STATE: %u bytes in a buffer of %u", k.state.size,
				v->arch->nested_size);
	v->nested_len = k.state.size;
	memcpy(v->nested, k.bytes, v->nested_len);
	return 0;
}

int x86_nested_apply(struct x86_vcpu *v, struct merr *err)
{
	union {
		struct kvm_nested_state state;
		uint8_t bytes[X86_NESTED_MAX];
	} k;
	int r;

	if (!v->nested_len)
		return 0;
	if (!v->arch->nested_size)
		return merr_set_class(err, MERR_KVM_MISSING_CAP, -ENOTSUP,
				      "the guest runs a hypervisor of its own, and this host's KVM lacks KVM_CAP_NESTED_STATE");
	memset(&k, 0, sizeof(k));
	memcpy(k.bytes, v->nested, v->nested_len);
	if (v->nested_len < NESTED_HEADER_SIZE || k.state.size != v->nested_len)
		return merr_set(err, -EPROTO, "nested state of %u bytes says that it has %u",
				v->nested_len, k.state.size);
	r = x86_ioctl(v->fd, KVM_SET_NESTED_STATE, &k, err);
	return r < 0 ? r : 0;
}
