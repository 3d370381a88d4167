/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs for a while, then powers the machine off.
 *
 * arg[0]  ticks of 1 ms until then (1000)
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/runtime.h"
#include "vmm/payloads/lib/ticks.h"

const char payload_name[] = "poweroff";

void payload_main(unsigned int vcpu)
{
	ticks_start();
	if (vcpu == 0) {
		ticks_sleep(vcpu, payload_arg(0, 1000));
		payload_pass();
		outb(PAYLOAD_PORT_POWEROFF, PAYLOAD_POWEROFF_VALUE);
		payload_fail("still running after port", PAYLOAD_PORT_POWEROFF, 0, 1);
	}
	ticks_sleep_forever();
}
