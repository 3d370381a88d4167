/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time: kvmclock of the VM, TSC of each vCPU.
 *
 * kvmclock is read once when the guest stopped and set once before it runs on the target, never backwards. Whether the
 * blackout counts (KVM_CLOCK_REALTIME) or the guest's time stood still depends on whether the two hosts' wall clocks can
 * be compared: the source read both clocks together, and both are disciplined or it is one host.
 *
 * MSR_IA32_TSC gets one value on all vCPUs whose TSCs were alike, since KVM keeps a stable clock only while they match.
 * Some KVMs take a TSC or an offset and do nothing with it, so both are read back. Where the offset proves to work, the TSC
 * is moved on with kvmclock at resume (Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_CTRL).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "guest/x86/arch.h"

/* TSCs this close are one frequency: what NTP may correct, and QEMU's tolerance (KVM.md 1). */
#define TSC_TOLERANCE_PPM 250U

const struct migd_vmstate x86_clock_vmstate = {
	.name = "kvm-clock",
	.version = 1,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U64(struct x86_clock, clock_ns),
		MIGD_VMS_FIELD_U32(struct x86_clock, flags),
		MIGD_VMS_FIELD_U64(struct x86_clock, realtime_ns),
		MIGD_VMS_FIELD_U64(struct x86_clock, host_tsc),
		MIGD_VMS_FIELD_BOOL(struct x86_clock, synchronised),
		MIGD_VMS_FIELD_U8_ARRAY(struct x86_clock, boot_id, 16),
		MIGD_VMS_FIELD_END,
	},
};

static bool wall_clock_synchronised(void)
{
	struct timex t = { 0 };

	return adjtimex(&t) >= 0 && !(t.status & STA_UNSYNC);
}

/* The kernel's UUID of this boot, as 16 bytes; zeros if it cannot be read. */
static void read_boot_id(uint8_t *ret)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[64] = "";
	size_t n = 0;

	memset(ret, 0, 16);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 36)
		return;
	for (const char *p = text; *p && n < 16; p += 2) {
		if (*p == '-')
			p++;
		if (sscanf(p, "%2hhx", &ret[n]) == 1)
			n++;
	}
}

static bool same_boot(const uint8_t *source)
{
	static const uint8_t unknown[16];
	uint8_t here[16];

	read_boot_id(here);
	return memcmp(source, unknown, sizeof(here)) != 0 && memcmp(source, here, sizeof(here)) == 0;
}

int arch_clock_stopped(struct arch_state *a, struct merr *err)
{
	struct kvm_clock_data k = { 0 };
	int r = a->n_vcpus > 0 ? x86_ioctl(a->vm_fd, KVM_GET_CLOCK, &k, err) : 0;

	if (r < 0 || a->n_vcpus == 0)
		return r;
	a->vm.clock = (struct x86_clock){
		.clock_ns = k.clock,
		.flags = k.flags,
		.realtime_ns = k.flags & KVM_CLOCK_REALTIME ? k.realtime : 0,
		.host_tsc = k.flags & KVM_CLOCK_HOST_TSC ? k.host_tsc : 0,
		.synchronised = wall_clock_synchronised(),
	};
	read_boot_id(a->vm.clock.boot_id);
	return 0;
}

struct kvm_clock_data x86_clock_plan(const struct x86_clock *c, uint32_t settable_flags,
				     bool same_host, bool synchronised)
{
	/* HOST_TSC and TSC_STABLE are what another host's clock was made of: never set. */
	struct kvm_clock_data k = { .clock = c->clock_ns };

	if (!(c->flags & settable_flags & KVM_CLOCK_REALTIME))
		return k;
	if (!same_host && !(c->synchronised && synchronised))
		return k;
	/* The kernel adds the time since, and nothing if that is negative. */
	k.flags = KVM_CLOCK_REALTIME;
	k.realtime = c->realtime_ns;
	return k;
}

static int clock_set(struct arch_state *a, struct merr *err)
{
	struct kvm_clock_data k = x86_clock_plan(&a->vm.clock, a->clock_flags,
						 same_boot(a->vm.clock.boot_id),
						 wall_clock_synchronised());
	int r = x86_ioctl(a->vm_fd, KVM_SET_CLOCK, &k, err);

	return r < 0 ? r : 0;
}

int x86_clock_try(struct arch_state *a, struct merr *err)
{
	/* As a signed number of ns, it lasts for 292 years: more is nobody's clock. */
	if (a->vm.clock.clock_ns > INT64_MAX || a->vm.clock.realtime_ns > INT64_MAX)
		return merr_set(err, -EINVAL, "section 'kvm-vm' instance 0: field 'clock': not a time");
	return clock_set(a, err);
}

/* TSC offset, where KVM lets it be read and it is not the zero of a KVM that ignores it (KVM.md 1). */
static bool tsc_offset_get(int fd, uint64_t *ret)
{
	uint64_t offset = 0;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					.attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uint64_t)(uintptr_t)&offset };

	if (ioctl(fd, KVM_GET_DEVICE_ATTR, &attr) < 0 || offset == 0)
		return false;
	*ret = offset;
	return true;
}

static bool tsc_offset_set(int fd, uint64_t offset)
{
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					.attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uint64_t)(uintptr_t)&offset };
	uint64_t now;

	return ioctl(fd, KVM_SET_DEVICE_ATTR, &attr) == 0 && tsc_offset_get(fd, &now) && now == offset;
}

int x86_tsc_capture(struct x86_vcpu *v, struct merr *err)
{
	int khz, r;

	r = x86_msr_get(v->fd, X86_MSR_TSC, &v->tsc);
	if (r != 1)
		return merr_set(err, r < 0 ? r : -EIO, "MSR 0x10 IA32_TSC cannot be read");
	v->tsc_deadline = 0;
	if (v->arch->has_deadline)
		(void)x86_msr_get(v->fd, X86_MSR_TSC_DEADLINE, &v->tsc_deadline);
	khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);
	v->tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	v->tsc_offset = 0;
	v->has_tsc_offset = tsc_offset_get(v->fd, &v->tsc_offset);
	return 0;
}

bool x86_tsc_khz_close(uint32_t source_khz, uint32_t here_khz)
{
	uint64_t differ = source_khz > here_khz ? source_khz - here_khz : here_khz - source_khz;

	return differ * 1000000U <= (uint64_t)here_khz * TSC_TOLERANCE_PPM;
}

int x86_tsc_khz_apply(struct x86_vcpu *v, struct merr *err)
{
	int here = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);

	/* Unasked, since some KVMs take a frequency and do nothing with it. */
	if (v->tsc_khz == 0 || here <= 0 || x86_tsc_khz_close(v->tsc_khz, (uint32_t)here))
		return 0;
	if (!v->arch->has_tsc_control || v->tsc_khz > INT32_MAX)
		return merr_set(err, -EINVAL,
				"the TSC runs at %u kHz at the source and %d kHz here, and this host's KVM cannot scale it",
				v->tsc_khz, here);
	if (ioctl(v->fd, KVM_SET_TSC_KHZ, (unsigned long)v->tsc_khz) < 0)
		return merr_set_errno(err, -errno, "KVM_SET_TSC_KHZ(%u)", v->tsc_khz);
	return 0;
}

/*
 * Its own value, or the first vCPU's if the two are less than a second apart: KVM would treat them as
 * one within that distance (kvm_synchronize_tsc() in arch/x86/kvm/x86.c), and has read them one after the other.
 */
static uint64_t tsc_common(const struct x86_vcpu *v)
{
	const struct x86_vcpu *first = &v->arch->vcpus[0];
	uint64_t second = (uint64_t)first->tsc_khz * 1000U;
	uint64_t differ = v->tsc > first->tsc ? v->tsc - first->tsc : first->tsc - v->tsc;

	return differ < second ? first->tsc : v->tsc;
}

/* Its TSC now, or WANT where KVM does not tell. */
static uint64_t tsc_now(const struct x86_vcpu *v, uint64_t want)
{
	uint64_t now;

	return x86_msr_get(v->fd, X86_MSR_TSC, &now) == 1 ? now : want;
}

/*
 * KVM takes a value within a second of the one it expects for an attempt to synchronise, and keeps the offset that it has
 * (kvm_synchronize_tsc() in arch/x86/kvm/x86.c). What is wanted with the later vCPUs is not with the first, when guest and
 * VMM happen to be of the same age: then it is written from farther away.
 */
static bool tsc_write(const struct x86_vcpu *v, uint64_t want)
{
	uint64_t second = (uint64_t)v->tsc_khz * 1000U, now;
	bool leads = v->index == v->arch->vcpus[0].index || want != v->arch->vcpus[0].tsc;

	if (x86_msr_set(v->fd, X86_MSR_TSC, want) != 1)
		return false;
	now = tsc_now(v, want);
	if (!leads || (now >= want && now - want <= second / 1000U))
		return true;
	return x86_msr_set(v->fd, X86_MSR_TSC, want + 2 * second) == 1 &&
	       x86_msr_set(v->fd, X86_MSR_TSC, want) == 1;
}

int x86_tsc_apply(struct x86_vcpu *v, struct merr *err)
{
	uint64_t want = tsc_common(v), now;

	if (!tsc_write(v, want))
		return merr_set(err, -EINVAL, "MSR 0x10 IA32_TSC: KVM refuses 0x%" PRIx64, want);
	now = tsc_now(v, want);
	/* A KVM that cannot offset the TSC shows the host's: good if that is later, fatal if not. */
	if (now < want)
		return merr_set(err, -EINVAL,
				"the guest's TSC is %" PRIu64 " at the source, this host's is %" PRIu64
				" and its KVM cannot move it: time would step back; choose a host that is up for longer",
				want, now);
	return 0;
}

int x86_tsc_deadline_apply(struct x86_vcpu *v, struct merr *err)
{
	int r;

	if (!v->arch->has_deadline || v->tsc_deadline == 0)
		return 0;
	r = x86_msr_set(v->fd, X86_MSR_TSC_DEADLINE, v->tsc_deadline);
	return r == 1 ? 0 : merr_set(err, r < 0 ? r : -EINVAL,
				     "MSR 0x6e0 IA32_TSC_DEADLINE: KVM refuses 0x%" PRIx64,
				     v->tsc_deadline);
}

/*
 * The blackout counted for kvmclock, so let it count for the TSC: offset := source's offset + (source's host TSC - ours)
 * + what kvmclock went on by, in cycles. Nothing is changed unless the offset proves to be one that KVM applies.
 */
static void tsc_move_on(struct arch_state *a)
{
	const struct x86_clock *source = &a->vm.clock;
	struct kvm_clock_data here = { 0 };
	uint64_t before, passed_ns, cycles;

	if (!(source->flags & KVM_CLOCK_HOST_TSC) || ioctl(a->vm_fd, KVM_GET_CLOCK, &here) < 0 ||
	    !(here.flags & KVM_CLOCK_HOST_TSC) || here.clock < source->clock_ns)
		return;
	passed_ns = here.clock - source->clock_ns;
	for (size_t i = 0; i < a->n_vcpus; i++) {
		struct x86_vcpu *v = &a->vcpus[i];

		if (!v->has_tsc_offset || !v->tsc_khz || !tsc_offset_get(v->fd, &before))
			continue;
		cycles = (uint64_t)((unsigned __int128)passed_ns * v->tsc_khz / 1000000U);
		if (!tsc_offset_set(v->fd, v->tsc_offset + source->host_tsc - here.host_tsc + cycles)) {
			(void)tsc_offset_set(v->fd, before);
			x86_note(a, "vCPU %u: KVM does not apply TSC offsets: the TSC stood still in the blackout",
				 v->index);
			continue;
		}
		/* The timer was armed by the old offset. */
		(void)x86_tsc_deadline_apply(v, NULL);
	}
}

int arch_clock_resume(struct arch_state *a, bool loaded, struct merr *err)
{
	struct merr wall = MERR_INIT;
	int r;

	if (loaded && a->n_vcpus > 0) {
		r = clock_set(a, err);
		if (r < 0)
			return r;
		tsc_move_on(a);
	}
	for (size_t i = 0; i < a->n_vcpus; i++) {
		struct x86_vcpu *v = &a->vcpus[i];

		/* EINVAL: the guest has no kvmclock. Nothing depends on the others either. */
		(void)ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0);
		/* They write the boot time into guest memory: wall clock minus the clock just set. */
		if (loaded && x86_msrs_apply(v, X86_MSR_AT_RESUME, &wall) < 0) {
			x86_note(a, "vCPU %u: %s", v->index, merr_msg(&wall));
			merr_clear(&wall);
		}
	}
	return 0;
}
