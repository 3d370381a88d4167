/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FPU, SSE, AVX, PKRU ... (the XSAVE area) and XCR0.
 *
 * The area is in standard (not compacted) form, so its bytes mean the same on every host that has the components; its
 * size is that of the host's largest one. Zeros at the end are not sent. A target whose area is smaller can take it if
 * what is beyond is zero and no component is in use that the target lacks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "guest/x86/arch.h"
#include "guest/x86/cpuid.h"

#define XSTATE_BV_OFFSET 512U	/* first word of the header: Intel SDM 1, 13.4.2 */

const char *x86_xsave_component(unsigned int bit)
{
	static const char *const names[] = {
		"x87",	"SSE",	 "AVX",	  "BNDREGS", "BNDCSR", "AVX-512 opmask", "AVX-512 ZMM_Hi256",
		"AVX-512 Hi16_ZMM", "PT", "PKRU", "PASID", "CET user", "CET supervisor", "HDC", "UINTR",
		"LBR",	"HWP",	 "AMX tile configuration", "AMX tile data", "APX",
	};

	return bit < ARRAY_SIZE(names) ? names[bit] : "unknown";
}

int x86_xsave_probe(struct arch_state *a, struct merr *err)
{
	uint32_t size = x86_extension(a->vm_fd, KVM_CAP_XSAVE2);

	a->xsave_size = size > sizeof(struct kvm_xsave) ? size : (uint32_t)sizeof(struct kvm_xsave);
	if (a->xsave_size > X86_XSAVE_MAX)
		return merr_set(err, -ENOTSUP, "KVM's XSAVE area takes %u bytes, at most %u are known here",
				a->xsave_size, X86_XSAVE_MAX);
	return 0;
}

int x86_xsave_capture(struct x86_vcpu *v, struct merr *err)
{
	bool xsave2 = x86_extension(v->arch->vm_fd, KVM_CAP_XSAVE2) > 0;
	uint32_t len = v->arch->xsave_size;
	int r;

	r = xsave2 ? x86_ioctl(v->fd, KVM_GET_XSAVE2, v->xsave, err) :
		     x86_ioctl(v->fd, KVM_GET_XSAVE, v->xsave, err);
	if (r < 0)
		return r;
	v->xsave_size = len;
	while (len > X86_XSAVE_MIN && v->xsave[len - 1] == 0)
		len--;
	v->xsave_len = len;
	return 0;
}

/* Components in use that the guest's CPU here does not have. */
static int check_components(const struct x86_vcpu *v, struct merr *err)
{
	uint64_t used = load_le64(v->xsave + XSTATE_BV_OFFSET), have;
	int r = x86_cpuid_xcr0_mask(v->fd, &have, err);

	if (r < 0)
		return r;
	used &= ~have;
	if (used)
		return merr_set(err, -EINVAL,
				"XSAVE component %d (%s) is in use at the source and not available here",
				__builtin_ctzll(used), x86_xsave_component((unsigned int)__builtin_ctzll(used)));
	return 0;
}

int x86_xsave_apply(struct x86_vcpu *v, struct merr *err)
{
	_cleanup_free_ uint8_t *area = NULL;
	uint32_t size = v->arch->xsave_size;
	int r;

	if (v->xsave_len < X86_XSAVE_MIN)
		return merr_set(err, -EPROTO, "an XSAVE area of %u bytes, at least %u are needed",
				v->xsave_len, X86_XSAVE_MIN);
	r = check_components(v, err);
	if (r < 0)
		return r;
	for (uint32_t i = size; i < v->xsave_len; i++)
		if (v->xsave[i])
			return merr_set(err, -EINVAL,
					"the XSAVE area has %u bytes at the source and %u here, and byte %u is in use",
					v->xsave_len, size, i);
	area = calloc(1, size);
	if (!area)
		return merr_set_errno(err, -ENOMEM, "the XSAVE area");
	memcpy(area, v->xsave, min_u64(v->xsave_len, size));
	r = x86_ioctl(v->fd, KVM_SET_XSAVE, area, err);
	return r < 0 ? r : 0;
}

int x86_xcrs_capture(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_xcrs k = { 0 };
	int r = x86_ioctl(v->fd, KVM_GET_XCRS, &k, err);

	if (r < 0)
		return r;
	v->n_xcrs = k.nr_xcrs;
	for (uint32_t i = 0; i < k.nr_xcrs && i < X86_XCRS_MAX; i++)
		v->xcrs[i] = (struct x86_xcr){ k.xcrs[i].xcr, k.xcrs[i].value };
	return 0;
}

int x86_xcrs_apply(struct x86_vcpu *v, struct merr *err)
{
	struct kvm_xcrs k = { .nr_xcrs = v->n_xcrs };
	int r;

	for (uint32_t i = 0; i < v->n_xcrs; i++) {
		k.xcrs[i].xcr = v->xcrs[i].index;
		k.xcrs[i].value = v->xcrs[i].value;
	}
	r = x86_ioctl(v->fd, KVM_SET_XCRS, &k, err);
	return r < 0 ? r : 0;
}
