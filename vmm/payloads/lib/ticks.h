/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping in local APIC timer ticks, each of which is a heartbeat. */
#ifndef MIGD_VMM_PAYLOADS_TICKS_H
#define MIGD_VMM_PAYLOADS_TICKS_H

#include <stdint.h>

#define TICK_HZ 1000

/* Starts the calling vCPU's timer at TICK_HZ. */
void ticks_start(void);
/* The calling vCPU's ticks since then. */
uint64_t ticks_now(unsigned int vcpu);
/* With interrupts off, as is payload_main() when it starts. */
void ticks_sleep(unsigned int vcpu, uint64_t n_ticks);
_Noreturn void ticks_sleep_forever(void);

#endif
