/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeps between timer interrupts: the guest whose memory the tests fill from outside.
 *
 * Every vCPU has its local APIC's timer; vCPU 0 the PIT as well, at a tenth of that. The heartbeat
 * counts vCPU 0's ticks of both.
 *
 * arg[0]     ticks a second of the APIC timers, at least 200 (1000)
 * detail[0]  PIT ticks
 * detail[1]  APIC timer ticks of vCPU 0
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"
#include "vmm/payloads/lib/runtime.h"

const char payload_name[] = "idle";

static void on_pit(unsigned int vcpu)
{
	result->detail[0]++;
	payload_beat(vcpu);
}

static void on_tick(unsigned int vcpu)
{
	if (vcpu == 0)
		result->detail[1]++;
	payload_beat(vcpu);
}

void payload_main(unsigned int vcpu)
{
	unsigned int hz = (unsigned int)payload_arg(0, 1000);

	irq_handle(VECTOR_TICK, on_tick);
	if (vcpu == 0) {
		irq_handle(VECTOR_PIC, on_pit);
		pit_start(hz / 10);
		pic_unmask(0);
	}
	tick_start(hz);
	for (;;)
		interrupt_wait();
}
