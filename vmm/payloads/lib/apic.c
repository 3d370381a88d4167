/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC of each vCPU (xAPIC mode) and the I/O APIC. */
#include "vmm/payloads/lib/apic.h"

#include <stdint.h>

#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"

/* Registers by offset (Intel SDM volume 3, table 11-1). */
#define LAPIC_GPA 0xfee00000
enum {
	LAPIC_TASK_PRIORITY = 0x080,
	LAPIC_END = 0x0b0,
	LAPIC_SPURIOUS = 0x0f0,
	LAPIC_ICR_LOW = 0x300,
	LAPIC_ICR_HIGH = 0x310,
	LAPIC_LVT_TIMER = 0x320,
	LAPIC_LVT_LINT0 = 0x350,
	LAPIC_TIMER_COUNT = 0x380,
	LAPIC_TIMER_DIVIDE = 0x3e0,
};
#define LAPIC_SOFTWARE_ENABLE 0x100
#define LVT_MASKED            0x10000
#define LVT_EXTINT            0x700
#define LVT_TIMER_PERIODIC    0x20000
#define ICR_PENDING           0x1000
#define ICR_ASSERT            0x4000
#define DIVIDE_BY_1           0xb
#define LAPIC_BUS_HZ          1000000000u

/* Intel 82093AA: an index and a data register. */
#define IOAPIC_INDEX            ((volatile uint32_t *)0xfec00000)
#define IOAPIC_DATA             ((volatile uint32_t *)0xfec00010)
#define IOAPIC_REDIRECTION(pin) (0x10 + 2 * (pin))
#define REDIRECTION_LEVEL       0x8000

static void lapic_write(unsigned int reg, uint32_t value)
{
	*(volatile uint32_t *)(uint64_t)(LAPIC_GPA + reg) = value;
}

static uint32_t lapic_read(unsigned int reg)
{
	return *(volatile uint32_t *)(uint64_t)(LAPIC_GPA + reg);
}

void lapic_open(unsigned int vcpu)
{
	lapic_write(LAPIC_TASK_PRIORITY, 0);
	lapic_write(LAPIC_SPURIOUS, LAPIC_SOFTWARE_ENABLE | VECTOR_SPURIOUS);
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	lapic_write(LAPIC_LVT_LINT0, vcpu == 0 ? LVT_EXTINT : LVT_MASKED);
}

void lapic_end(void)
{
	lapic_write(LAPIC_END, 0);
}

void tick_start(unsigned int hz)
{
	lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
	lapic_write(LAPIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR_TICK);
	lapic_write(LAPIC_TIMER_COUNT, LAPIC_BUS_HZ / hz);
}

void ipi_send(unsigned int vcpu)
{
	lapic_write(LAPIC_ICR_HIGH, vcpu << 24);
	lapic_write(LAPIC_ICR_LOW, ICR_ASSERT | VECTOR_IPI);
	while (lapic_read(LAPIC_ICR_LOW) & ICR_PENDING)
		cpu_relax();
}

static void ioapic_write(uint32_t reg, uint32_t value)
{
	*IOAPIC_INDEX = reg;
	*IOAPIC_DATA = value;
}

void ioapic_unmask_level(unsigned int pin)
{
	ioapic_write(IOAPIC_REDIRECTION(pin) + 1, 0);
	ioapic_write(IOAPIC_REDIRECTION(pin), REDIRECTION_LEVEL | (VECTOR_IOAPIC + pin));
}
