/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping in local APIC timer ticks. */
#include "vmm/payloads/lib/ticks.h"

#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"
#include "vmm/payloads/lib/runtime.h"

static volatile uint64_t n_ticks[PAYLOAD_MAX_VCPUS];

static void on_tick(unsigned int vcpu)
{
	n_ticks[vcpu]++;
	payload_beat(vcpu);
}

void ticks_start(void)
{
	irq_handle(VECTOR_TICK, on_tick);
	tick_start(TICK_HZ);
}

uint64_t ticks_now(unsigned int vcpu)
{
	return n_ticks[vcpu];
}

void ticks_sleep(unsigned int vcpu, uint64_t n)
{
	uint64_t end = n_ticks[vcpu] + n;

	while (n_ticks[vcpu] < end)
		interrupt_wait();
}

void ticks_sleep_forever(void)
{
	for (;;)
		interrupt_wait();
}
