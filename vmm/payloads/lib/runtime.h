/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every payload can rely on: its start, its result page, its serial line and its interrupts.
 *
 * The runtime calls payload_main() once on each vCPU, interrupts off, after it has set up GDT, IDT
 * and result page, masked both PICs and enabled all local APICs (payloads start timers themselves).
 * Where payload_main() returns, the vCPU halts for good.
 *
 * A payload finds what is wrong itself and says so with payload_fail(); it goes on running
 * afterwards, so that an observer can tell a guest with damaged memory from one that does not run.
 */
#ifndef MIGD_VMM_PAYLOADS_RUNTIME_H
#define MIGD_VMM_PAYLOADS_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/payload-abi.h"

/* Each payload defines these two. */
extern const char payload_name[];
void payload_main(unsigned int vcpu);

extern volatile struct payload_result *const result;
extern const struct payload_param *const param;

/* Where the heartbeat of a vCPU is counted; vCPU 0's is the payload's. No other vCPU writes it. */
static inline volatile uint64_t *payload_beat_word(unsigned int vcpu)
{
	return vcpu == 0 ? &result->heartbeat : &result->vcpu_beat[vcpu];
}

/*
 * One more unit of work done; one instruction, since interrupt handlers of the same vCPU may beat
 * as well.
 */
static inline void payload_beat(unsigned int vcpu)
{
	__asm__ volatile("incq %0" : "+m"(*payload_beat_word(vcpu)));
}

/* n things were verified. Only the first failure keeps its text; all are counted. Any vCPU. */
void payload_checked(uint64_t n);
void payload_fail(const char *what, uint64_t where, uint64_t expected, uint64_t seen);
/* The payload has done what it had to do; says so unless it failed before. */
void payload_pass(void);

/* param->arg[i], or fallback when it is 0. */
uint64_t payload_arg(unsigned int i, uint64_t fallback);

/* The runtime's part that entry.S calls. */
void runtime_start(unsigned int vcpu);

#endif
