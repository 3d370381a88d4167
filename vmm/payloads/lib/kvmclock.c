/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kvmclock (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW): the page that KVM keeps
 * for one vCPU.
 */
#include "vmm/payloads/lib/kvmclock.h"

#include "vmm/payload-abi.h"
#include "vmm/payloads/lib/cpu.h"

#define MSR_KVM_SYSTEM_TIME 0x4b564d01
#define SYSTEM_TIME_ENABLE  1

struct system_time {
	uint32_t version; /* odd while KVM changes the rest */
	uint32_t pad;
	uint64_t tsc_timestamp;
	uint64_t nanoseconds;
	uint32_t tsc_to_ns_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad2[2];
};

/* A cache line each. */
static __attribute__((aligned(64))) struct system_time system_times[PAYLOAD_MAX_VCPUS][2];

void kvmclock_open(unsigned int vcpu)
{
	wrmsr(MSR_KVM_SYSTEM_TIME, (uint64_t)&system_times[vcpu][0] | SYSTEM_TIME_ENABLE);
}

static uint64_t scale(const volatile struct system_time *st, uint64_t tsc_delta)
{
	if (st->tsc_shift < 0)
		tsc_delta >>= -st->tsc_shift;
	else
		tsc_delta <<= st->tsc_shift;
	return (uint64_t)((unsigned __int128)tsc_delta * st->tsc_to_ns_mul >> 32);
}

uint64_t kvmclock_scale(uint64_t tsc_delta)
{
	return scale(&system_times[0][0], tsc_delta);
}

uint64_t kvmclock_now(unsigned int vcpu)
{
	const volatile struct system_time *st = &system_times[vcpu][0];
	uint32_t version;
	uint64_t ns;

	do {
		version = st->version;
		barrier();
		ns = st->nanoseconds + scale(st, rdtsc() - st->tsc_timestamp);
		barrier();
	} while ((version & 1) || version != st->version);
	return ns;
}
