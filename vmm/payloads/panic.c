/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs for a while, then ends badly.
 *
 * arg[0]  ticks of 1 ms until then (1000)
 * arg[1]  how: 0 triple fault, 1 exit port with status arg[2], 2 hangs with interrupts off, 3 says so by the pvpanic port
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/runtime.h"
#include "vmm/payloads/lib/ticks.h"

const char payload_name[] = "panic";

static void triple_fault(void)
{
	static const uint8_t no_idt[10]; /* limit 0: not even the double fault has a gate */

	__asm__ volatile("lidt %0; ud2" : : "m"(no_idt));
}

static void leave_by_exit_port(void)
{
	outb(PAYLOAD_PORT_EXIT, (uint8_t)param->arg[2]);
}

static void hang(void)
{
	interrupts_off();
	for (;;)
		__asm__ volatile("hlt");
}

static void say_so(void)
{
	if (inb(PAYLOAD_PORT_PVPANIC) & PAYLOAD_PVPANIC_PANICKED)
		outb(PAYLOAD_PORT_PVPANIC, PAYLOAD_PVPANIC_PANICKED);
}

static void (*const ends[])(void) = { triple_fault, leave_by_exit_port, hang, say_so };

void payload_main(unsigned int vcpu)
{
	ticks_start();
	if (vcpu == 0) {
		ticks_sleep(vcpu, payload_arg(0, 1000));
		if (param->arg[1] < sizeof(ends) / sizeof(ends[0]))
			ends[param->arg[1]]();
		payload_fail("still running, end", param->arg[1], 0, 1);
	}
	ticks_sleep_forever();
}
