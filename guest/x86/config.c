/* SPDX-License-Identifier: Apache-2.0 */
/* The x86-64 records of a guest's description: CPUID, feature MSRs, XSAVE, TSC. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "guest/x86/arch.h"
#include "guest/x86/cpuid.h"

enum x86_config_kind {
	/* id: vCPU. Seven be32 an entry: function, index, flags, eax, ebx, ecx, edx. */
	X86_CONFIG_CPUID = CONFIG_ARCH_FIRST,
	/* id: vCPU. As above, only the entries that differ from the first vCPU's, whose record came before. */
	X86_CONFIG_CPUID_DELTA,
	X86_CONFIG_FEATURE_MSRS,	/* of the first vCPU: be32 index, be64 value each */
	X86_CONFIG_XSAVE,		/* be32 size of the area, be64 components the guest may use */
	X86_CONFIG_TSC,			/* be32 kHz, be32 1 if KVM can scale */
	X86_CONFIG_KVM,			/* caps.c; optional */
};

#define CPUID_ENTRY_LEN 28U
#define MSR_LEN 12U

/* Making them */

static void put_entry(struct buf *b, const struct kvm_cpuid_entry2 *e)
{
	buf_be32(b, e->function);
	buf_be32(b, e->index);
	buf_be32(b, e->flags);
	buf_be32(b, e->eax);
	buf_be32(b, e->ebx);
	buf_be32(b, e->ecx);
	buf_be32(b, e->edx);
}

static bool same_key(const struct kvm_cpuid_entry2 *a, const struct kvm_cpuid_entry2 *b)
{
	return a->function == b->function && a->index == b->index && a->flags == b->flags;
}

static bool same_entry(const struct kvm_cpuid_entry2 *a, const struct kvm_cpuid_entry2 *b)
{
	return same_key(a, b) && a->eax == b->eax && a->ebx == b->ebx && a->ecx == b->ecx &&
	       a->edx == b->edx;
}

static bool same_keys(const struct kvm_cpuid2 *a, const struct kvm_cpuid2 *b)
{
	if (a->nent != b->nent)
		return false;
	for (uint32_t i = 0; i < a->nent; i++)
		if (!same_key(&a->entries[i], &b->entries[i]))
			return false;
	return true;
}

/* FIRST: the first vCPU's table, NULL for that one itself. */
static void put_cpuid(struct buf *out, const struct x86_vcpu *v, const struct kvm_cpuid2 *t,
		      const struct kvm_cpuid2 *first)
{
	bool delta = first && same_keys(t, first);
	struct buf body = { 0 };

	for (uint32_t i = 0; i < t->nent; i++)
		if (!delta || !same_entry(&t->entries[i], &first->entries[i]))
			put_entry(&body, &t->entries[i]);
	if (body.error)
		out->error = body.error;
	else
		config_put(out, delta ? X86_CONFIG_CPUID_DELTA : X86_CONFIG_CPUID, 0, v->index, body.data,
			   body.len);
	buf_done(&body);
}

static int put_cpuids(struct arch_state *a, struct buf *out, struct merr *err)
{
	_cleanup_free_ struct kvm_cpuid2 *first = NULL;
	int r;

	for (size_t i = 0; i < a->n_vcpus; i++) {
		_cleanup_free_ struct kvm_cpuid2 *t = NULL;

		r = x86_cpuid_of_vcpu(a->vcpus[i].fd, &t, err);
		if (r < 0)
			return r;
		put_cpuid(out, &a->vcpus[i], t, first);
		if (!first)
			first = TAKE_PTR(t);
	}
	return 0;
}

static void put_features(struct arch_state *a, struct buf *out)
{
	struct buf body = { 0 };
	uint64_t value;

	for (uint32_t i = 0; i < a->n_feature_list; i++) {
		if (x86_msr_get(a->vcpus[0].fd, a->feature_list[i], &value) != 1)
			continue;
		buf_be32(&body, a->feature_list[i]);
		buf_be64(&body, value);
	}
	if (body.error)
		out->error = body.error;
	else
		config_put(out, X86_CONFIG_FEATURE_MSRS, 0, 0, body.data, body.len);
	buf_done(&body);
}

static uint32_t tsc_khz_here(const struct arch_state *a)
{
	int khz = ioctl(a->vcpus[0].fd, KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? (uint32_t)khz : 0;
}

int arch_config_put(struct arch_state *a, struct buf *out, struct merr *err)
{
	uint8_t body[12];
	uint64_t mask = 0;
	int r;

	if (a->n_vcpus == 0)
		return 0;
	r = put_cpuids(a, out, err);
	if (r == 0)
		r = x86_cpuid_xcr0_mask(a->vcpus[0].fd, &mask, err);
	if (r < 0)
		return r;
	put_features(a, out);
	x86_caps_put(a, X86_CONFIG_KVM, out);
	store_be32(body, a->xsave_size);
	store_be64(body + 4, mask);
	config_put(out, X86_CONFIG_XSAVE, 0, 0, body, 12);
	store_be32(body, tsc_khz_here(a));
	store_be32(body + 4, a->has_tsc_control);
	config_put(out, X86_CONFIG_TSC, 0, 0, body, 8);
	return 0;
}

/* Reading the source's */

static int bad_record(const struct config_record *rec, const char *what, struct merr *err)
{
	return merr_set(err, -EPROTO, "the source's guest description: record 0x%x (id %" PRIu32 "): %s",
			rec->kind, rec->id, what);
}

static struct x86_vcpu *find_vcpu(struct arch_state *a, uint32_t index)
{
	for (size_t i = 0; i < a->n_vcpus; i++)
		if (a->vcpus[i].index == index)
			return &a->vcpus[i];
	return NULL;
}

int arch_config_begin(struct arch_state *a, struct merr *err)
{
	(void)err;
	memset(&a->source, 0, sizeof(a->source));
	for (size_t i = 0; i < a->n_vcpus; i++) {
		free(a->vcpus[i].source_cpuid);
		a->vcpus[i].source_cpuid = NULL;
		a->vcpus[i].adopt_cpuid = false;
	}
	return 0;
}

static struct kvm_cpuid_entry2 take_entry(struct rcur *c)
{
	struct kvm_cpuid_entry2 e = { .function = rcur_be32(c) };

	e.index = rcur_be32(c);
	e.flags = rcur_be32(c);
	e.eax = rcur_be32(c);
	e.ebx = rcur_be32(c);
	e.ecx = rcur_be32(c);
	e.edx = rcur_be32(c);
	return e;
}

/* Put E in the place of T's entry of the same key. */
static bool replace_entry(struct kvm_cpuid2 *t, const struct kvm_cpuid_entry2 *e)
{
	for (uint32_t i = 0; i < t->nent; i++)
		if (same_key(&t->entries[i], e)) {
			t->entries[i] = *e;
			return true;
		}
	return false;
}

static int take_cpuid(struct arch_state *a, const struct config_record *rec, struct merr *err)
{
	_cleanup_free_ struct kvm_cpuid2 *t = NULL;
	struct x86_vcpu *v = find_vcpu(a, rec->id);
	bool delta = rec->kind == X86_CONFIG_CPUID_DELTA;
	const struct kvm_cpuid2 *first = a->vcpus[0].source_cpuid;
	struct rcur body = rec->body;
	size_t n = body.left / CPUID_ENTRY_LEN;

	if (body.left % CPUID_ENTRY_LEN || n > X86_CPUID_MAX)
		return bad_record(rec, "not a CPUID table of at most 256 entries", err);
	/* A vCPU too many is reported from the list of vCPUs. */
	if (!v)
		return 0;
	if (v->source_cpuid || (delta && !first))
		return bad_record(rec, "comes twice, or before the first vCPU's", err);
	t = x86_cpuid_new();
	if (!t)
		return merr_set_errno(err, -ENOMEM, "a CPUID table");
	t->nent = 0;
	if (delta)
		memcpy(t, first, sizeof(*t) + first->nent * sizeof(t->entries[0]));
	for (size_t i = 0; i < n; i++) {
		struct kvm_cpuid_entry2 e = take_entry(&body);

		if (!delta)
			t->entries[t->nent++] = e;
		else if (!replace_entry(t, &e))
			return bad_record(rec, "an entry that the first vCPU has not", err);
	}
	v->source_cpuid = TAKE_PTR(t);
	return 0;
}

static int take_features(struct arch_state *a, const struct config_record *rec, struct merr *err)
{
	struct rcur body = rec->body;
	size_t n = body.left / MSR_LEN;

	if (body.left % MSR_LEN || n > X86_MSRS_MAX)
		return bad_record(rec, "not a list of MSRs", err);
	a->source.n_features = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		a->source.features[i].index = rcur_be32(&body);
		a->source.features[i].value = rcur_be64(&body);
	}
	return 0;
}

int arch_config_record(struct arch_state *a, const struct config_record *rec, struct merr *err)
{
	struct rcur body = rec->body;

	/* That the source has vCPUs is reported from the list of them. */
	if (a->n_vcpus == 0)
		return 0;
	switch (rec->kind) {
	case X86_CONFIG_CPUID:
	case X86_CONFIG_CPUID_DELTA:
		return take_cpuid(a, rec, err);
	case X86_CONFIG_FEATURE_MSRS:
		return take_features(a, rec, err);
	case X86_CONFIG_KVM:
		return x86_caps_take(a, body) ? 0 : bad_record(rec, "not a list of KVM's capabilities", err);
	case X86_CONFIG_XSAVE:
		a->source.xsave_size = rcur_be32(&body);
		a->source.xsave_mask = rcur_be64(&body);
		a->source.got_xsave = true;
		return body.bad ? bad_record(rec, "too short", err) : 0;
	case X86_CONFIG_TSC:
		a->source.tsc_khz = rcur_be32(&body);
		(void)rcur_be32(&body);	/* whether the source could scale */
		a->source.got_tsc = true;
		return body.bad ? bad_record(rec, "too short", err) : 0;
	default:
		if (rec->flags & CONFIG_OPTIONAL)
			return 0;
		return bad_record(rec, "is not known here: the source is newer, update the target", err);
	}
}

/* Comparing */

static int compare_cpuid(struct x86_vcpu *v, const struct kvm_cpuid2 *supported,
			 struct mismatches *m, struct merr *err)
{
	_cleanup_free_ struct kvm_cpuid2 *local = NULL;
	int r;

	/* A vCPU that the source has not was reported already. */
	if (!v->source_cpuid)
		return m->found ? 0 : merr_set(err, -EPROTO,
					   "the source's guest description lacks the CPUID of vCPU %u", v->index);
	r = x86_cpuid_of_vcpu(v->fd, &local, err);
	if (r < 0)
		return r;
	if (!x86_cpuid_equal(v->source_cpuid, local) &&
	    x86_cpuid_missing(v->source_cpuid, supported, local, m) == 0)
		v->adopt_cpuid = true;
	return 0;
}

static int compare_cpuids(struct arch_state *a, struct mismatches *m, struct merr *err)
{
	_cleanup_free_ struct kvm_cpuid2 *supported = NULL;
	int r = x86_cpuid_supported(a->kvm_fd, &supported, err);

	for (size_t i = 0; r == 0 && i < a->n_vcpus; i++)
		r = compare_cpuid(&a->vcpus[i], supported, m, err);
	return r;
}

/* Promises about the CPU that CPUID only announces: a guest that sees one not kept goes wrong. */
static void compare_features(struct arch_state *a, struct mismatches *m)
{
	for (uint32_t i = 0; i < a->source.n_features; i++) {
		const struct x86_msr *f = &a->source.features[i];
		uint64_t here = 0, vcpu = 0;

		if (f->index != X86_MSR_ARCH_CAPABILITIES && f->index != X86_MSR_PERF_CAPABILITIES)
			continue;
		if (x86_msr_get(a->vcpus[0].fd, f->index, &vcpu) == 1 && vcpu == f->value)
			continue;
		if (x86_msr_get(a->kvm_fd, f->index, &here) == 1 && (f->value & ~here) == 0)
			continue;
		mismatch_add(m, MISMATCH_TEXT("MSR 0x%x %s", f->index, x86_msr_name(f->index)),
			     MISMATCH_TEXT("0x%" PRIx64, f->value),
			     MISMATCH_TEXT("at most 0x%" PRIx64, here),
			     "choose a host with the same CPU features");
	}
}

/* What KVM_SET_XSAVE takes depends on CPUID; here only what no CPUID could mend. */
static void compare_xsave(struct arch_state *a, struct mismatches *m)
{
	if (a->source.xsave_size > X86_XSAVE_MAX)
		mismatch_add(m, "XSAVE area", MISMATCH_TEXT("%u bytes", a->source.xsave_size),
			     MISMATCH_TEXT("at most %u bytes known", X86_XSAVE_MAX), "update the target");
}

static void compare_tsc(struct arch_state *a, struct mismatches *m)
{
	uint32_t here = tsc_khz_here(a);

	if (a->source.tsc_khz == 0 || here == 0 || a->has_tsc_control ||
	    x86_tsc_khz_close(a->source.tsc_khz, here))
		return;
	mismatch_add(m, "TSC", MISMATCH_TEXT("%u kHz", a->source.tsc_khz),
		     MISMATCH_TEXT("%u kHz, not scalable by KVM", here),
		     "choose a host with the same TSC frequency, or one that can scale it");
}

int arch_config_end(struct arch_state *a, struct mismatches *m, struct merr *err)
{
	int r;

	if (a->n_vcpus == 0)
		return 0;
	if (!a->source.got_tsc || !a->source.got_xsave)
		return merr_set(err, -EPROTO, "the source's guest description lacks the %s",
				a->source.got_tsc ? "XSAVE components" : "TSC frequency");
	r = compare_cpuids(a, m, err);
	if (r < 0)
		return r;
	compare_features(a, m);
	compare_xsave(a, m);
	compare_tsc(a, m);
	x86_caps_compare(a, m);
	return 0;
}
