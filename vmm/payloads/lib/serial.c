/* SPDX-License-Identifier: Apache-2.0 */
/* The serial line, written by polling. */
#include "vmm/payloads/lib/serial.h"

#include <stdint.h>

#include "vmm/payload-abi.h"
#include "vmm/payloads/lib/cpu.h"

/* 16550A registers, from the port's base (National Semiconductor PC16550D, table II). */
enum {
	UART_DATA = 0,
	UART_INTERRUPT_ENABLE = 1,
	UART_FIFO_CONTROL = 2,
	UART_LINE_CONTROL = 3,
	UART_LINE_STATUS = 5,
};
#define UART_DIVISOR_LATCH     0x80
#define UART_8N1               0x03
#define UART_TRANSMITTER_EMPTY 0x20

static uint32_t line_lock;

void serial_open(void)
{
	outb(PAYLOAD_PORT_SERIAL + UART_INTERRUPT_ENABLE, 0);
	outb(PAYLOAD_PORT_SERIAL + UART_LINE_CONTROL, UART_DIVISOR_LATCH | UART_8N1);
	outb(PAYLOAD_PORT_SERIAL + UART_DATA, 1); /* 115200 bauds */
	outb(PAYLOAD_PORT_SERIAL + UART_INTERRUPT_ENABLE, 0);
	outb(PAYLOAD_PORT_SERIAL + UART_LINE_CONTROL, UART_8N1);
	outb(PAYLOAD_PORT_SERIAL + UART_FIFO_CONTROL, 0x07);
}

static void serial_char(char c)
{
	while (!(inb(PAYLOAD_PORT_SERIAL + UART_LINE_STATUS) & UART_TRANSMITTER_EMPTY))
		cpu_relax();
	outb(PAYLOAD_PORT_SERIAL + UART_DATA, (uint8_t)c);
}

void serial_line(const char *text)
{
	while (__atomic_exchange_n(&line_lock, 1, __ATOMIC_ACQUIRE))
		cpu_relax();
	while (*text)
		serial_char(*text++);
	serial_char('\r');
	serial_char('\n');
	__atomic_store_n(&line_lock, 0, __ATOMIC_RELEASE);
}
