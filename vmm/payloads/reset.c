/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resets the machine a number of times through the i8042, then passes and sleeps. What it remembers
 * is in RAM that a reset keeps.
 *
 * arg[0]     resets (3)
 * arg[1]     ticks of 1 ms before each (300)
 * detail[0]  resets so far
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/runtime.h"
#include "vmm/payloads/lib/ticks.h"

const char payload_name[] = "reset";

struct kept {
	uint32_t magic;
	uint32_t n_starts;
};

static uint32_t count_start(void)
{
	volatile struct kept *kept = (volatile struct kept *)PAYLOAD_KEEP_GPA;

	if (kept->magic != PAYLOAD_MAGIC) {
		kept->magic = PAYLOAD_MAGIC;
		kept->n_starts = 0;
	}
	return ++kept->n_starts;
}

static void run_first(void)
{
	uint32_t n_resets = count_start() - 1;

	result->detail[0] = n_resets;
	if (n_resets == payload_arg(0, 3)) {
		payload_pass();
		return;
	}
	ticks_sleep(0, payload_arg(1, 300));
	outb(PAYLOAD_PORT_RESET, PAYLOAD_RESET_VALUE);
	payload_fail("still running after port", PAYLOAD_PORT_RESET, 0, n_resets);
}

void payload_main(unsigned int vcpu)
{
	ticks_start();
	if (vcpu == 0)
		run_first();
	ticks_sleep_forever();
}
