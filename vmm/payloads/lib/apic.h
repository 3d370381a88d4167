/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC's part that only the runtime uses; the public part is in irq.h. */
#ifndef MIGD_VMM_PAYLOADS_APIC_H
#define MIGD_VMM_PAYLOADS_APIC_H

/* Enables the calling vCPU's local APIC, timer masked; vCPU 0 also takes the PICs' interrupts. */
void lapic_open(unsigned int vcpu);
void lapic_end(void);

#endif
