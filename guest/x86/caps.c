/* SPDX-License-Identifier: Apache-2.0 */
/* What the source's KVM can do, in a guest's description: what this host's KVM lacks of it. */
#include "base/cleanup.h"
#include "guest/x86/arch.h"
#include "guest/x86/cpuid.h"

/* What of the host's KVM the guest's state may come to depend on, beyond what no guest can be moved without. */
static const struct {
	uint32_t cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_NESTED_STATE, "KVM_CAP_NESTED_STATE" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER" },
	{ KVM_CAP_X86_SMM, "KVM_CAP_X86_SMM" },
};

#define CAP_LEN 8U /* be32 KVM_CAP_*, be32 its value */

void x86_caps_put(const struct arch_state *a, uint16_t kind, struct buf *out)
{
	uint8_t body[ARRAY_SIZE(needed) * CAP_LEN];
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		uint32_t value = x86_extension(a->vm_fd, needed[i].cap);

		if (!value)
			continue;
		store_be32(body + len, needed[i].cap);
		store_be32(body + len + 4, value);
		len += CAP_LEN;
	}
	config_put(out, kind, CONFIG_OPTIONAL, 0, body, len);
}

bool x86_caps_take(struct arch_state *a, struct rcur body)
{
	if (body.left % CAP_LEN)
		return false;
	while (body.left) {
		uint32_t cap = rcur_be32(&body), value = rcur_be32(&body);

		/* One that is not known here is of no use to name. */
		for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
			if (needed[i].cap == cap && value)
				a->source.kvm_caps |= 1U << i;
	}
	return true;
}

/* A guest that sees no VMX and no SVM has no nested state. */
static bool may_nest(const struct arch_state *a)
{
	const struct kvm_cpuid2 *t = a->vcpus[0].source_cpuid;
	const struct kvm_cpuid_entry2 *intel = t ? x86_cpuid_find(t, 1, 0) : NULL;
	const struct kvm_cpuid_entry2 *amd = t ? x86_cpuid_find(t, 0x80000001, 0) : NULL;

	return (intel && intel->ecx & 1U << 5) || (amd && amd->ecx & 1U << 2);
}

void x86_caps_compare(const struct arch_state *a, struct mismatches *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (!(a->source.kvm_caps & 1U << i) || x86_extension(a->vm_fd, needed[i].cap))
			continue;
		if (needed[i].cap == KVM_CAP_NESTED_STATE && !may_nest(a))
			continue;
		mismatch_add(m, needed[i].name, "present", "missing",
			     "choose a host whose KVM has it, or update this one's kernel");
	}
}
