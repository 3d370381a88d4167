/* SPDX-License-Identifier: Apache-2.0 */
/* The IDT and what arrives through it. */
#include "vmm/payloads/lib/irq.h"

#include "vmm/payload-abi.h"
#include "vmm/payloads/lib/apic.h"
#include "vmm/payloads/lib/pic.h"
#include "vmm/payloads/lib/runtime.h"

#define N_VECTORS              256
#define STUB_BYTES             16
#define CODE_SELECTOR          0x08
#define GATE_INTERRUPT_PRESENT 0x8e

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};

struct __attribute__((packed)) table_pointer {
	uint16_t limit;
	uint64_t base;
};

/* What the stubs of entry.S and the processor leave on the stack. */
struct trap_frame {
	uint64_t vector;
	uint64_t error_code;
	uint64_t rip;
};

extern const char trap_stubs[];
void trap_dispatch(const struct trap_frame *frame);

static struct gate idt[N_VECTORS];
static irq_handler *handlers[N_VECTORS];

/* Each vCPU has one page of stack, and pages lie in the order of the vCPUs. */
static unsigned int this_vcpu(void)
{
	return (unsigned int)(((uint64_t)__builtin_frame_address(0) - PAYLOAD_STACK_GPA) / 0x1000);
}

static bool is_pic_vector(uint64_t vector)
{
	return vector >= VECTOR_PIC && vector < VECTOR_PIC + PIC_LINES;
}

void trap_dispatch(const struct trap_frame *frame)
{
	irq_handler *handler = handlers[frame->vector];

	if (frame->vector == VECTOR_SPURIOUS)
		return;
	if (!handler) {
		result->detail[7] = frame->error_code;
		payload_fail("vector without a handler", frame->rip, 0, frame->vector);
	}
	while (frame->vector < VECTOR_PIC) /* an exception: there is nothing to go back to */
		__asm__ volatile("cli; hlt");
	if (handler)
		handler(this_vcpu());
	if (is_pic_vector(frame->vector))
		pic_end((unsigned int)frame->vector - VECTOR_PIC);
	else
		lapic_end();
}

void irq_handle(unsigned int vector, irq_handler *handler)
{
	handlers[vector] = handler;
}

static void idt_fill(void)
{
	for (unsigned int i = 0; i < N_VECTORS; i++) {
		uint64_t stub = (uint64_t)trap_stubs + (uint64_t)i * STUB_BYTES;

		idt[i] = (struct gate){
			.offset_low = (uint16_t)stub,
			.selector = CODE_SELECTOR,
			.type = GATE_INTERRUPT_PRESENT,
			.offset_middle = (uint16_t)(stub >> 16),
			.offset_high = (uint32_t)(stub >> 32),
		};
	}
}

void irq_open(void)
{
	idt_fill();
	pic_open();
}

void irq_open_vcpu(unsigned int vcpu)
{
	const struct table_pointer pointer = { .limit = sizeof(idt) - 1, .base = (uint64_t)idt };

	__asm__ volatile("lidt %0" : : "m"(pointer));
	lapic_open(vcpu);
}
