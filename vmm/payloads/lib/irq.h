/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts: the IDT, both PICs, the I/O APIC and each vCPU's local APIC with its timer. */
#ifndef MIGD_VMM_PAYLOADS_IRQ_H
#define MIGD_VMM_PAYLOADS_IRQ_H

#include <stdint.h>

enum {
	VECTOR_PIC = 0x20,    /* PIC line n is VECTOR_PIC + n */
	VECTOR_IOAPIC = 0x30, /* I/O APIC pin n is VECTOR_IOAPIC + n */
	VECTOR_TICK = 0x50,   /* local APIC timer */
	VECTOR_IPI = 0x51,
	VECTOR_SPURIOUS = 0xff,
};

/*
 * Runs with interrupts off on the vCPU the interrupt came to; the runtime ends the interrupt when
 * it returns.
 */
typedef void irq_handler(unsigned int vcpu);

/* An interrupt at a vector that has no handler is a failure of the payload. */
void irq_handle(unsigned int vector, irq_handler *handler);

/* PIC lines go to vCPU 0; all start masked. */
void pic_unmask(unsigned int line);
/* Channel 0 of the PIT, at PIC line 0, as rate generator. */
void pit_start(unsigned int hz);

/* A level, active high, to vCPU 0. */
void ioapic_unmask_level(unsigned int pin);

/*
 * The periodic timer of the calling vCPU's local APIC. KVM's counts nanoseconds (its bus cycle is 1
 * ns).
 */
void tick_start(unsigned int hz);
/* A fixed interrupt at VECTOR_IPI; waits until the local APIC has taken it. */
void ipi_send(unsigned int vcpu);

/* The runtime's own: once on vCPU 0, then on each vCPU. */
void irq_open(void);
void irq_open_vcpu(unsigned int vcpu);

#endif
