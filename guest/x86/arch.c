/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64 state as a whole: what KVM must offer, its sections, and the order of save and restore (KVM.md 2, 3). */
#include "guest/x86/arch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "guest/x86/cpuid.h"

const char arch_name[] = "x86-64";

int x86_ioctl_named(int fd, unsigned long request, const char *name, void *arg, struct merr *err)
{
	int r;

	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return merr_set_errno(err, -errno, "%s", name);
	return r;
}

uint32_t x86_extension(int vm_fd, long cap)
{
	int r = ioctl(vm_fd, KVM_CHECK_EXTENSION, cap);

	return r > 0 ? (uint32_t)r : 0;
}

void x86_note(struct arch_state *a, const char *fmt, ...)
{
	size_t room = sizeof(a->notes) - a->notes_len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(a->notes + a->notes_len, room, fmt, ap);
	va_end(ap);
	/* A line that does not fit whole is left out. */
	if (n < 0 || (size_t)n + 2 > room) {
		a->notes[a->notes_len] = '\0';
		return;
	}
	a->notes_len += (size_t)n;
	a->notes[a->notes_len++] = '\n';
	a->notes[a->notes_len] = '\0';
}

static void notes_clear(struct arch_state *a)
{
	a->notes_len = 0;
	a->notes[0] = '\0';
}

const char *arch_notes(const struct arch_state *a)
{
	return a->notes;
}

/* Without these a guest's state is not complete. */
static const struct {
	long cap;
	const char *name;
} essential[] = {
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
	{ KVM_CAP_XSAVE, "KVM_CAP_XSAVE" },
	{ KVM_CAP_XCRS, "KVM_CAP_XCRS" },
	{ KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS" },
	{ KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK" },
	{ KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
};

static int probe_essential(const struct arch_state *a, struct merr *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(essential); i++)
		if (!x86_extension(a->vm_fd, essential[i].cap))
			return merr_set_class(err, MERR_KVM_MISSING_CAP, -ENOTSUP,
					      "this host's KVM lacks %s, without which a guest's state cannot be moved",
					      essential[i].name);
	if (a->pit && !x86_extension(a->vm_fd, KVM_CAP_PIT_STATE2))
		return merr_set_class(err, MERR_KVM_MISSING_CAP, -ENOTSUP,
				      "this host's KVM lacks KVM_CAP_PIT_STATE2, without which its PIT cannot be moved");
	return 0;
}

static int probe(struct arch_state *a, struct merr *err)
{
	int r;

	r = probe_essential(a, err);
	if (r < 0)
		return r;
	a->has_sregs2 = x86_extension(a->vm_fd, KVM_CAP_SREGS2) > 0;
	a->has_tsc_control = x86_extension(a->vm_fd, KVM_CAP_TSC_CONTROL) > 0;
	a->has_deadline = a->lapic && x86_extension(a->vm_fd, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	a->clock_flags = x86_extension(a->vm_fd, KVM_CAP_ADJUST_CLOCK);
	a->nested_size = x86_extension(a->vm_fd, KVM_CAP_NESTED_STATE);
	if (a->nested_size > X86_NESTED_MAX)
		return merr_set(err, -ENOTSUP, "KVM's nested state takes %u bytes, at most %u are known here",
				a->nested_size, X86_NESTED_MAX);
	r = x86_xsave_probe(a, err);
	if (r == 0)
		r = x86_msr_probe(a, err);
	return r;
}

static int make_vcpus(struct arch_state *a, const struct guest_tables *t)
{
	a->vcpus = calloc(t->n_vcpus + 1, sizeof(*a->vcpus));
	a->sections = calloc(t->n_vcpus + 1, sizeof(*a->sections));
	if (!a->vcpus || !a->sections)
		return -ENOMEM;
	a->n_vcpus = t->n_vcpus;
	/* RAM only: nobody could tell the state of a VM without vCPUs. */
	if (a->n_vcpus == 0)
		return 0;
	a->sections[a->n_sections++] = (struct arch_section){ "kvm-vm", 0, &x86_vm_vmstate, &a->vm };
	for (size_t i = 0; i < t->n_vcpus; i++) {
		struct x86_vcpu *v = &a->vcpus[i];

		v->arch = a;
		v->index = t->vcpus[i].index;
		v->fd = t->vcpus[i].fd;
		v->run = t->vcpus[i].run;
		a->sections[a->n_sections++] =
			(struct arch_section){ "kvm-vcpu", v->index, &x86_vcpu_vmstate, v };
	}
	return 0;
}

int arch_state_new(const struct guest_tables *t, struct arch_state **ret, struct merr *err)
{
	struct arch_state *a;
	int r;

	a = calloc(1, sizeof(*a));
	if (!a)
		return merr_set_errno(err, -ENOMEM, "the vCPUs' state");
	a->kvm_fd = t->kvm.kvm_fd;
	a->vm_fd = t->kvm.vm_fd;
	a->irqchip = t->kvm.irqchip;
	a->pit = t->kvm.pit;
	a->lapic = t->kvm.irqchip || t->kvm.split_irqchip;
	a->vm.arch = a;
	r = make_vcpus(a, t);
	if (r < 0)
		(void)merr_set_errno(err, r, "the vCPUs' state");
	else if (a->n_vcpus > 0)
		r = probe(a, err);
	if (r < 0) {
		arch_state_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

struct arch_state *arch_state_free(struct arch_state *a)
{
	if (!a)
		return NULL;
	for (size_t i = 0; i < a->n_vcpus; i++)
		free(a->vcpus[i].source_cpuid);
	free(a->vcpus);
	free(a->sections);
	free(a);
	return NULL;
}

size_t arch_sections(struct arch_state *a, const struct arch_section **ret)
{
	*ret = a->sections;
	return a->n_sections;
}

typedef int vcpu_step(struct x86_vcpu *v, struct merr *err);

static int run_steps(struct x86_vcpu *v, vcpu_step *const *steps, size_t n,
			 struct merr *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = steps[i](v, err);
	if (r < 0)
		(void)merr_prefix(err, "vCPU %u", v->index);
	return r;
}

/*
 * MP_STATE first: reading it carries out a pending INIT or SIPI. Events before what their pending payload may change (CR2,
 * DR6). VM-wide before all vCPUs: an interrupt on its way from I/O APIC to LAPIC is then seen twice, not lost.
 */
static vcpu_step *const capture_steps[] = {
	x86_mp_state_capture, x86_events_capture, x86_regs_capture, x86_xsave_capture,
	x86_xcrs_capture,     x86_sregs_capture,  x86_msrs_capture, x86_tsc_capture,
	x86_lapic_capture,    x86_debugregs_capture, x86_nested_capture,
};

int arch_capture(struct arch_state *a, struct merr *err)
{
	int r;

	notes_clear(a);
	r = a->n_vcpus > 0 ? x86_vm_capture(a, err) : 0;
	for (size_t i = 0; r == 0 && i < a->n_vcpus; i++)
		r = run_steps(&a->vcpus[i], capture_steps, ARRAY_SIZE(capture_steps), err);
	return r;
}

void arch_load_begin(struct arch_state *a)
{
	notes_clear(a);
	a->vm.got_irqchip = a->vm.got_pit = false;
	for (size_t i = 0; i < a->n_vcpus; i++) {
		a->vcpus[i].got_lapic = false;
		a->vcpus[i].nested_len = 0;
	}
}

static int adopt_cpuid(struct x86_vcpu *v, struct merr *err)
{
	int r;

	if (!v->adopt_cpuid)
		return 0;
	r = x86_ioctl(v->fd, KVM_SET_CPUID2, v->source_cpuid, err);
	if (r < 0)
		(void)merr_prefix(err, "giving the vCPU the source's CPUID (it must not have run)");
	return r < 0 ? r : 0;
}

static int feature_msrs_apply(struct x86_vcpu *v, struct merr *err)
{
	int r = x86_msrs_apply(v, X86_MSR_FEATURE, err);

	return r < 0 ? r : x86_msrs_apply(v, X86_MSR_FEATURE_CONTROL, err);
}

static int ordinary_msrs_apply(struct x86_vcpu *v, struct merr *err)
{
	int r = x86_msrs_apply(v, X86_MSR_ORDINARY, err);

	return r < 0 ? r : x86_msrs_apply(v, X86_MSR_ASYNC_PF, err);
}

/*
 * What the CPU is before what it holds; SREGS decide the LAPIC's ID format and whether there is a nested guest, whose
 * state goes before REGS so that they are not overwritten; LAPIC before the MSRs that need it and before the
 * deadline, which is dropped silently while the timer is in another mode; events before MP_STATE.
 */
static vcpu_step *const apply_steps[] = {
	x86_tsc_khz_apply, feature_msrs_apply, x86_sregs_apply,	 x86_nested_apply,
	x86_regs_apply,	   x86_xcrs_apply,     x86_xsave_apply,	 x86_lapic_apply,
	x86_tsc_apply,	   ordinary_msrs_apply, x86_events_apply, x86_mp_state_apply,
	x86_tsc_deadline_apply, x86_debugregs_apply,
};

static vcpu_step *const adopt_steps[] = { adopt_cpuid };

int arch_load_apply(struct arch_state *a, struct merr *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->n_vcpus; i++)
		r = run_steps(&a->vcpus[i], adopt_steps, ARRAY_SIZE(adopt_steps), err);
	if (a->n_vcpus == 0)
		return 0;
	if (r == 0)
		r = x86_vm_apply(a, err);
	for (size_t i = 0; r == 0 && i < a->n_vcpus; i++)
		r = run_steps(&a->vcpus[i], apply_steps, ARRAY_SIZE(apply_steps), err);
	if (r == 0)
		r = x86_clock_try(a, err);
	if (r < 0)
		(void)merr_prefix(err, "giving KVM the guest's state");
	return r;
}
