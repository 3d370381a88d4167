/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port's struct, shared by its registers (serial.c) and its ends on the host (serial-host.c). */
#ifndef MIGD_VMM_SERIAL_H
#define MIGD_VMM_SERIAL_H

#include <linux/serial_reg.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/device.h"
#include "vmm/io.h"

#define SERIAL_FIFO_LEN 16

struct serial {
	struct device *dev;
	struct io_watch input;
	struct io_watch output;
	uint16_t divisor;
	uint8_t ier, lcr, mcr, scr;
	uint8_t fcr;
	uint8_t msr_delta;	/* what changed since the guest looked */
	uint8_t rx_count, tx_count;
	uint8_t rx[SERIAL_FIFO_LEN], tx[SERIAL_FIFO_LEN];
	bool overrun;
	bool thr_interrupt;	/* the transmitter became empty and nobody was told */
	bool input_added, output_added;
	uint8_t unused[2];
};

static inline bool serial_has_fifo(const struct serial *s)
{
	return s->fcr & UART_FCR_ENABLE_FIFO;
}

static inline uint8_t serial_fifo_size(const struct serial *s)
{
	return serial_has_fifo(s) ? SERIAL_FIFO_LEN : 1;
}

/* A byte arrived (serial.c). Locked, as are all below. */
void serial_receive(struct serial *s, uint8_t byte);

/* Open what --serial says. For struct device_type. */
int serial_host_init(struct device *dev, const struct options *opt);
void serial_host_done(struct device *dev);

/* Send what the host takes now; without waiting, so that a vCPU can always be stopped. */
void serial_flush(struct serial *s);

/* Ask for input only while there is room for it: after each change of the receive FIFO. */
void serial_watch_input(struct serial *s);

#endif
