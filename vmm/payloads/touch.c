/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adds one to the first byte of each page of its working set, pass after pass: the guest of the
 * migration scenarios. Whoever looks at its memory while it stands still finds the same value in
 * each page, or, from one page on, that value less one.
 *
 * On the serial line it says "A" once at the start, and "B" after each pass. vCPU 0 works, and
 * beats once a page.
 *
 * arg[0]     passes after which it suspends itself, once (never)
 * detail[0]  passes so far
 * detail[1]  pages in the working set
 * detail[2]  times it was woken
 */
#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/runtime.h"
#include "vmm/payloads/lib/serial.h"

const char payload_name[] = "touch";

#define DEFAULT_BYTES (1u << 20)

static uint64_t working_set_bytes(void)
{
	uint64_t bytes = param->working_set_bytes ? param->working_set_bytes : DEFAULT_BYTES;
	uint64_t ram_end = param->memory_bytes < PAYLOAD_LOW_RAM_END ? param->memory_bytes
								     : PAYLOAD_LOW_RAM_END;
	uint64_t present = ram_end > PAYLOAD_WORK_GPA ? ram_end - PAYLOAD_WORK_GPA : 0;

	return (bytes < present ? bytes : present) & ~UINT64_C(4095);
}

/* In assembler since each instruction counts: 5 a page, of which the first is the write. */
static void touch_pages(uint64_t from, uint64_t to)
{
	__asm__ volatile("1:	incb (%[page])\n"
			 "	incq (%[beat])\n"
			 "	addq $4096, %[page]\n"
			 "	cmpq %[end], %[page]\n"
			 "	jne 1b\n"
			 : [page] "+r"(from)
			 : [end] "r"(to), [beat] "r"(payload_beat_word(0))
			 : "memory", "cc");
}

void payload_main(unsigned int vcpu)
{
	uint64_t len = working_set_bytes(), sleep_after = payload_arg(0, UINT64_MAX);

	if (vcpu != 0)
		return;
	if (!len) {
		payload_fail("no page to write, vCPU", vcpu, 1, 0);
		return;
	}
	result->detail[1] = len / 4096;
	serial_line("A");
	for (uint64_t pass = 1;; pass++) {
		touch_pages(PAYLOAD_WORK_GPA, PAYLOAD_WORK_GPA + len);
		result->detail[0] = pass;
		serial_line("B");
		if (pass == sleep_after) {
			outb(PAYLOAD_PORT_SLEEP, PAYLOAD_SLEEP_VALUE);
			result->detail[2]++;
		}
	}
}
