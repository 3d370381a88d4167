/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port, a 16550A (National Semiconductor PC16550D). Bytes go out as fast as the host takes them; when it takes
 * none they wait in the transmit FIFO, which the guest then sees as full. The interrupt is not gated by OUT2.
 */
#include "vmm/serial.h"

#include <errno.h>
#include <string.h>

#include "vmm/devices.h"
#include "vmm/util.h"

#define IER_ALL 0x0f
#define DIVISOR_9600 12
#define MSR_CONNECTED (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)
#define IIR_FIFO 0xc0
#define IIR_TIMEOUT 0x0c

static int serial_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	const struct serial *s = opaque;
	(void)version;
	if (s->rx_count > SERIAL_FIFO_LEN || s->tx_count > SERIAL_FIFO_LEN)
		return migd_vmstate_fail(err, -EINVAL, "a FIFO holds more than %u bytes", SERIAL_FIFO_LEN);
	return 0;
}

static const struct migd_vmstate_field serial_fields[] = {
	MIGD_VMS_FIELD_U16(struct serial, divisor),
	MIGD_VMS_FIELD_U8(struct serial, ier),
	MIGD_VMS_FIELD_U8(struct serial, lcr),
	MIGD_VMS_FIELD_U8(struct serial, mcr),
	MIGD_VMS_FIELD_U8(struct serial, scr),
	MIGD_VMS_FIELD_U8(struct serial, fcr),
	MIGD_VMS_FIELD_U8(struct serial, msr_delta),
	MIGD_VMS_FIELD_U8(struct serial, rx_count),
	MIGD_VMS_FIELD_U8(struct serial, tx_count),
	MIGD_VMS_FIELD_U8_ARRAY(struct serial, rx, SERIAL_FIFO_LEN),
	MIGD_VMS_FIELD_U8_ARRAY(struct serial, tx, SERIAL_FIFO_LEN),
	MIGD_VMS_FIELD_BOOL(struct serial, overrun),
	MIGD_VMS_FIELD_BOOL(struct serial, thr_interrupt),
	MIGD_VMS_FIELD_END,
};

static const struct migd_vmstate serial_state = { .name = "serial",
						  .version = 1,
						  .minimum_version = 1,
						  .fields = serial_fields,
						  .post_load = serial_post_load };

static const struct device_derived serial_derived[] = {
	DEVICE_DERIVED(struct serial, dev, "of this process"),
	DEVICE_DERIVED(struct serial, input, "where input comes from on this host"),
	DEVICE_DERIVED(struct serial, output, "where output goes on this host"),
	DEVICE_DERIVED(struct serial, input_added, "of this process"),
	DEVICE_DERIVED(struct serial, output_added, "of this process"),
	DEVICE_DERIVED(struct serial, unused, "padding"),
	DEVICE_DERIVED_END,
};

static uint8_t rx_trigger(const struct serial *s)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };
	return serial_has_fifo(s) ? levels[s->fcr >> 6] : 1;
}

static uint8_t line_status(const struct serial *s)
{
	return (uint8_t)((s->rx_count ? UART_LSR_DR : 0) | (s->overrun ? UART_LSR_OE : 0) |
			 (s->tx_count ? 0 : UART_LSR_THRE | UART_LSR_TEMT));
}

static uint8_t modem_lines(const struct serial *s)
{
	if (!(s->mcr & UART_MCR_LOOP))
		return MSR_CONNECTED;
	return (uint8_t)((s->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
			 (s->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
			 (s->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
			 (s->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
}

/* The pending interrupt of the highest priority. The time-out of a short FIFO passes at once. */
static uint8_t interrupt_id(const struct serial *s)
{
	if (s->ier & UART_IER_RLSI && s->overrun)
		return UART_IIR_RLSI;
	if (s->ier & UART_IER_RDI && s->rx_count)
		return s->rx_count >= rx_trigger(s) ? UART_IIR_RDI : IIR_TIMEOUT;
	if (s->ier & UART_IER_THRI && s->thr_interrupt)
		return UART_IIR_THRI;
	if (s->ier & UART_IER_MSI && s->msr_delta)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

static bool serial_irq_level(const void *state)
{
	return interrupt_id(state) != UART_IIR_NO_INT;
}

void serial_receive(struct serial *s, uint8_t byte)
{
	if (s->rx_count >= serial_fifo_size(s))
		s->overrun = true;
	else
		s->rx[s->rx_count++] = byte;
}

static uint8_t take_received(struct serial *s)
{
	if (!s->rx_count)
		return 0;
	uint8_t byte = s->rx[0];
	memmove(s->rx, s->rx + 1, --s->rx_count);
	return byte;
}

static void transmit(struct serial *s, uint8_t byte)
{
	s->thr_interrupt = false;
	if (s->mcr & UART_MCR_LOOP) {
		serial_receive(s, byte);
		s->thr_interrupt = true;
		return;
	}
	if (s->tx_count < SERIAL_FIFO_LEN)
		s->tx[s->tx_count++] = byte;
	serial_flush(s);
}

static void set_fcr(struct serial *s, uint8_t value)
{
	bool switched = (s->fcr ^ value) & UART_FCR_ENABLE_FIFO;
	if (switched || value & UART_FCR_CLEAR_RCVR) {
		s->rx_count = 0;
		s->overrun = false;
	}
	if ((switched || value & UART_FCR_CLEAR_XMIT) && s->tx_count) {
		s->tx_count = 0;
		s->thr_interrupt = true;
	}
	s->fcr = value & (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK);
}

static void set_mcr(struct serial *s, uint8_t value)
{
	uint8_t before = modem_lines(s);
	s->mcr = value & 0x1f;
	uint8_t after = modem_lines(s), changed = before ^ after;
	s->msr_delta |= (uint8_t)((changed & UART_MSR_DCD ? UART_MSR_DDCD : 0) |
				  (before & ~after & UART_MSR_RI ? UART_MSR_TERI : 0) |
				  (changed & UART_MSR_DSR ? UART_MSR_DDSR : 0) |
				  (changed & UART_MSR_CTS ? UART_MSR_DCTS : 0));
}

static void set_ier(struct serial *s, uint8_t value)
{
	if (value & ~s->ier & UART_IER_THRI && !s->tx_count)
		s->thr_interrupt = true;
	s->ier = value & IER_ALL;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t id = interrupt_id(s);
	if (id == UART_IIR_THRI)
		s->thr_interrupt = false;
	return id | (serial_has_fifo(s) ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t value = line_status(s);
	s->overrun = false;
	return value;
}

static uint8_t read_msr(struct serial *s)
{
	uint8_t value = modem_lines(s) | s->msr_delta;
	s->msr_delta = 0;
	return value;
}

static bool dlab(const struct serial *s)
{
	return s->lcr & UART_LCR_DLAB;
}

static uint8_t read_register(struct serial *s, uint64_t offset)
{
	switch (offset) {
	case UART_RX:
		return dlab(s) ? (uint8_t)s->divisor : take_received(s);
	case UART_IER:
		return dlab(s) ? (uint8_t)(s->divisor >> 8) : s->ier;
	case UART_IIR:
		return read_iir(s);
	case UART_LCR:
		return s->lcr;
	case UART_MCR:
		return s->mcr;
	case UART_LSR:
		return read_lsr(s);
	case UART_MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static void write_register(struct serial *s, uint64_t offset, uint8_t value)
{
	if (offset == UART_TX && dlab(s))
		s->divisor = (uint16_t)((s->divisor & 0xff00) | value);
	else if (offset == UART_TX)
		transmit(s, value);
	else if (offset == UART_IER && dlab(s))
		s->divisor = (uint16_t)((s->divisor & 0x00ff) | value << 8);
	else if (offset == UART_IER)
		set_ier(s, value);
	else if (offset == UART_FCR)
		set_fcr(s, value);
	else if (offset == UART_LCR)
		s->lcr = value;
	else if (offset == UART_MCR)
		set_mcr(s, value);
	else if (offset == UART_SCR)
		s->scr = value;
}

static uint64_t serial_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct serial *s = dev->state;
	(void)size;
	uint8_t value = read_register(s, offset);
	serial_watch_input(s);
	device_update_irq(dev);
	return value;
}

static void serial_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct serial *s = dev->state;
	(void)size;
	write_register(s, offset, (uint8_t)value);
	serial_watch_input(s);
	device_update_irq(dev);
}

static void serial_reset(struct device *dev)
{
	struct serial *s = dev->state;
	s->divisor = DIVISOR_9600;
	s->ier = s->lcr = s->mcr = s->scr = s->fcr = s->msr_delta = 0;
	s->rx_count = s->tx_count = 0;
	s->overrun = s->thr_interrupt = false;
	serial_watch_input(s);
}

/* Bytes that waited on the source go out here. */
static void serial_activate(struct device *dev)
{
	struct serial *s = dev->state;
	serial_flush(s);
	serial_watch_input(s);
}

const struct device_type serial_type = {
	.name = "serial",
	.state_size = sizeof(struct serial),
	.state = &serial_state,
	.derived = serial_derived,
	.access_max = 1,
	.init = serial_host_init,
	.done = serial_host_done,
	.reset = serial_reset,
	.read = serial_read,
	.write = serial_write,
	.irq_level = serial_irq_level,
	.activate = serial_activate,
};
