/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches time: the TSC, the kvmclock page, and two timers that interrupt it.
 *
 * Each vCPU reads both clocks without pause; neither may ever be less than before. The largest step
 * forward of each on vCPU 0, and the longest time between two interrupts of a timer, is for an
 * observer to compare with the blackout that it measured. A timer that stops is found by the other:
 * while one ticks, the other must not stay away for five seconds of its ticks. (Ticks in quick
 * succession do not count for that: after a stop KVM makes up for the PIT's, and the local APIC
 * waits meanwhile.)
 *
 * Steps are in nanoseconds, the TSC's by kvmclock's own scale.
 *
 * arg[0]     1: sleep between ticks, and read the clocks once a tick only
 * detail[0]  largest step of the TSC
 * detail[1]  largest step of kvmclock
 * detail[2]  PIT ticks
 * detail[3]  APIC timer ticks
 * detail[4]  longest between two PIT ticks, by kvmclock
 * detail[5]  longest between two APIC timer ticks, by kvmclock
 * detail[6]  kvmclock now
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"
#include "vmm/payloads/lib/kvmclock.h"
#include "vmm/payloads/lib/runtime.h"

const char payload_name[] = "clock";

#define SILENT_SECONDS 5

/* A timer as vCPU 0 sees it. */
struct timer {
	const char *lost; /* what to say when it has stopped */
	unsigned int hz;
	unsigned int n_alone; /* ticks since the other's last */
	uint64_t last_ns;
};

enum { TIMER_PIT, TIMER_APIC };
static struct timer timers[] = {
	[TIMER_PIT] = { .lost = "no PIT interrupt, APIC ticks", .hz = 100 },
	[TIMER_APIC] = { .lost = "no APIC timer interrupt, PIT ticks", .hz = 1000 },
};

static void note_longest(unsigned int detail, uint64_t ns)
{
	if (ns > result->detail[detail])
		result->detail[detail] = ns;
}

static void note_tick(unsigned int which)
{
	struct timer *t = &timers[which];
	struct timer *other = &timers[!which];
	uint64_t now = kvmclock_now(0);
	uint64_t since = t->last_ns ? now - t->last_ns : 0;

	result->detail[2 + which]++;
	note_longest(4 + which, since);
	t->last_ns = now;
	other->n_alone = 0;
	if (since > UINT64_C(500000000) / t->hz && ++t->n_alone == SILENT_SECONDS * t->hz)
		payload_fail(other->lost, result->detail[2 + which], 1, 0);
	payload_beat(0);
}

static void on_pit(unsigned int vcpu)
{
	(void)vcpu;
	note_tick(TIMER_PIT);
}

static void on_tick(unsigned int vcpu)
{
	if (vcpu == 0)
		note_tick(TIMER_APIC);
	else
		payload_beat(vcpu);
}

static void start_timers(unsigned int vcpu)
{
	irq_handle(VECTOR_TICK, on_tick);
	if (vcpu == 0) {
		irq_handle(VECTOR_PIC, on_pit);
		pit_start(timers[TIMER_PIT].hz);
		pic_unmask(0);
	}
	tick_start(timers[TIMER_APIC].hz);
}

struct readings {
	uint64_t tsc;
	uint64_t ns;
};

static void check_readings(unsigned int vcpu, const struct readings *last,
			   const struct readings *now)
{
	if (now->tsc < last->tsc)
		payload_fail("TSC went back, vCPU", vcpu, last->tsc, now->tsc);
	if (now->ns < last->ns)
		payload_fail("kvmclock went back, vCPU", vcpu, last->ns, now->ns);
	payload_checked(1);
	if (vcpu != 0)
		return;
	if (now->tsc > last->tsc)
		note_longest(0, kvmclock_scale(now->tsc - last->tsc));
	if (now->ns > last->ns)
		note_longest(1, now->ns - last->ns);
	result->detail[6] = now->ns;
}

void payload_main(unsigned int vcpu)
{
	bool sleeps = payload_arg(0, 0) == 1;
	struct readings last, now;

	kvmclock_open(vcpu);
	last = (struct readings){ .tsc = rdtsc(), .ns = kvmclock_now(vcpu) };
	start_timers(vcpu);
	if (!sleeps)
		interrupts_on();
	for (;; last = now) {
		if (sleeps)
			interrupt_wait();
		else
			payload_beat(vcpu);
		now = (struct readings){ .tsc = rdtsc(), .ns = kvmclock_now(vcpu) };
		check_readings(vcpu, &last, &now);
	}
}
