/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suspends itself through the sleep port again and again, and counts how often it was woken.
 *
 * arg[0]     ticks of 1 ms awake each time (1000)
 * arg[1]     wake-ups after which it passes and stays awake (never)
 * detail[0]  times it went to sleep
 * detail[1]  times it was woken
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/runtime.h"
#include "vmm/payloads/lib/ticks.h"

const char payload_name[] = "suspend";

static void run_first(void)
{
	uint64_t n_until_pass = payload_arg(1, UINT64_MAX);

	while (result->detail[1] < n_until_pass) {
		ticks_sleep(0, payload_arg(0, 1000));
		result->detail[0]++;
		outb(PAYLOAD_PORT_SLEEP, PAYLOAD_SLEEP_VALUE);
		result->detail[1]++;
		payload_checked(1);
	}
	payload_pass();
}

void payload_main(unsigned int vcpu)
{
	ticks_start();
	if (vcpu == 0)
		run_first();
	ticks_sleep_forever();
}
