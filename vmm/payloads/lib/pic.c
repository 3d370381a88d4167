/* SPDX-License-Identifier: Apache-2.0 */
/* The pair of 8259A interrupt controllers and the 8254 timer that ticks at line 0. */
#include "vmm/payloads/lib/pic.h"

#include <stdint.h>

#include "vmm/payloads/lib/cpu.h"
#include "vmm/payloads/lib/irq.h"

/*
 * Intel 8259A data sheet: the first initialisation word goes to the command port, the others to the
 * data port.
 */
#define PIC_MASTER_COMMAND 0x20
#define PIC_MASTER_DATA    0x21
#define PIC_SLAVE_COMMAND  0xa0
#define PIC_SLAVE_DATA     0xa1
#define PIC_INIT           0x11
#define PIC_8086           0x01
#define PIC_END            0x20
#define PIC_CASCADE        2

#define PIT_CHANNEL0      0x40
#define PIT_COMMAND       0x43
#define PIT_CHANNEL0_RATE 0x34 /* channel 0, low then high byte, mode 2 */
#define PIT_HZ            1193182

static void pic_init(uint16_t command, uint16_t data, uint8_t vector, uint8_t cascade)
{
	outb(command, PIC_INIT);
	outb(data, vector);
	outb(data, cascade);
	outb(data, PIC_8086);
	outb(data, 0xff);
}

void pic_open(void)
{
	pic_init(PIC_MASTER_COMMAND, PIC_MASTER_DATA, VECTOR_PIC, 1u << PIC_CASCADE);
	pic_init(PIC_SLAVE_COMMAND, PIC_SLAVE_DATA, VECTOR_PIC + 8, PIC_CASCADE);
}

void pic_unmask(unsigned int line)
{
	if (line >= 8) {
		outb(PIC_SLAVE_DATA, (uint8_t)(inb(PIC_SLAVE_DATA) & ~(1u << (line - 8))));
		line = PIC_CASCADE;
	}
	outb(PIC_MASTER_DATA, (uint8_t)(inb(PIC_MASTER_DATA) & ~(1u << line)));
}

void pic_end(unsigned int line)
{
	if (line >= 8)
		outb(PIC_SLAVE_COMMAND, PIC_END);
	outb(PIC_MASTER_COMMAND, PIC_END);
}

void pit_start(unsigned int hz)
{
	unsigned int count = PIT_HZ / hz;

	outb(PIT_COMMAND, PIT_CHANNEL0_RATE);
	outb(PIT_CHANNEL0, (uint8_t)count);
	outb(PIT_CHANNEL0, (uint8_t)(count >> 8));
}
