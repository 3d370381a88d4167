/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port as a driver sees it: detection, FIFOs, interrupts, loopback, and a host that takes no bytes. */
/* LIBS: migd_vmm_core migd_guest_static */
/* SOURCES: board.c */
/* LABELS: quick */
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "board.h"

#define PORT 0x3f8

struct serial_test {
	struct board b;
	struct device *dev;
	int host;	/* the other end of the line: a FIFO */
};

static uint8_t in(struct serial_test *t, unsigned int reg)
{
	return (uint8_t)bus_read(&t->b.m.pio, PORT + reg, 1);
}

static void out(struct serial_test *t, unsigned int reg, uint8_t value)
{
	bus_write(&t->b.m.pio, PORT + reg, 1, value);
}

static int setup(void **state)
{
	struct serial_test *t = calloc(1, sizeof(*t));
	assert_non_null(t);
	board_prepare(&t->b, 1 << 20);
	const char *path = strdup(board_path(&t->b, "line"));
	assert_int_equal(mkfifo(path, 0600), 0);
	t->host = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(t->host >= 0);
	t->b.opt.serial = path;
	board_start(&t->b);
	t->dev = board_device(&t->b, "serial", 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct serial_test *t = *state;
	board_done(&t->b);
	(void)close(t->host);
	free((char *)t->b.opt.serial);
	free(t);
	return 0;
}

static void test_registers_after_power_on(void **state)
{
	struct serial_test *t = *state;
	assert_int_equal(in(t, UART_IER), 0);
	assert_int_equal(in(t, UART_IIR), UART_IIR_NO_INT);
	assert_int_equal(in(t, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	assert_int_equal(in(t, UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	assert_int_equal(in(t, UART_RX), 0);
	assert_false(board_irq(t->dev));
}

static void test_detection_finds_a_16550a(void **state)
{
	struct serial_test *t = *state;
	out(t, UART_SCR, 0x5a);
	assert_int_equal(in(t, UART_SCR), 0x5a);
	out(t, UART_IER, 0xff);
	assert_int_equal(in(t, UART_IER), 0x0f);
	out(t, UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_int_equal(in(t, UART_IIR) & 0xc0, 0xc0);
	out(t, UART_FCR, 0);
	assert_int_equal(in(t, UART_IIR) & 0xc0, 0);
}

static void test_divisor_hides_behind_dlab(void **state)
{
	struct serial_test *t = *state;
	out(t, UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	out(t, UART_DLL, 0x34);
	out(t, UART_DLM, 0x12);
	assert_int_equal(in(t, UART_DLL), 0x34);
	assert_int_equal(in(t, UART_DLM), 0x12);
	out(t, UART_LCR, UART_LCR_WLEN8);
	assert_int_equal(in(t, UART_IER), 0);
	assert_int_equal(in(t, UART_LCR), UART_LCR_WLEN8);
}

static void test_bytes_reach_the_host(void **state)
{
	struct serial_test *t = *state;
	for (const char *c = "hello"; *c; c++)
		out(t, UART_TX, (uint8_t)*c);
	char text[16] = { 0 };
	assert_int_equal(read(t->host, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
}

static void test_empty_transmitter_interrupts_once(void **state)
{
	struct serial_test *t = *state;
	out(t, UART_IER, UART_IER_THRI);
	assert_true(board_irq(t->dev));
	assert_int_equal(in(t, UART_IIR), UART_IIR_THRI);
	assert_false(board_irq(t->dev));
	assert_int_equal(in(t, UART_IIR), UART_IIR_NO_INT);
	out(t, UART_TX, 'x');
	assert_true(board_irq(t->dev));
	out(t, UART_IER, 0);
	assert_false(board_irq(t->dev));
}

static void test_loopback_returns_bytes_and_modem_lines(void **state)
{
	struct serial_test *t = *state;
	out(t, UART_MCR, UART_MCR_LOOP | UART_MCR_RTS | UART_MCR_OUT2);
	assert_int_equal(in(t, UART_MSR) & 0xf0, UART_MSR_CTS | UART_MSR_DCD);
	assert_int_equal(in(t, UART_MSR) & 0x0f, 0);
	out(t, UART_TX, 0xa5);
	assert_true(in(t, UART_LSR) & UART_LSR_DR);
	assert_int_equal(in(t, UART_RX), 0xa5);
	assert_false(in(t, UART_LSR) & UART_LSR_DR);
	char byte;
	assert_int_equal(read(t->host, &byte, 1), -1);	/* nothing left the port */
}

static void test_received_bytes_interrupt_by_trigger_level(void **state)
{
	struct serial_test *t = *state;
	out(t, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_4);
	out(t, UART_MCR, UART_MCR_LOOP);
	out(t, UART_IER, UART_IER_RDI);
	out(t, UART_TX, 1);
	assert_true(board_irq(t->dev));
	assert_int_equal(in(t, UART_IIR) & 0x0f, 0x0c);	/* below the trigger: time-out */
	for (uint8_t i = 2; i <= 4; i++)
		out(t, UART_TX, i);
	assert_int_equal(in(t, UART_IIR) & 0x0f, UART_IIR_RDI);
	for (uint8_t i = 1; i <= 4; i++)
		assert_int_equal(in(t, UART_RX), i);
	assert_false(board_irq(t->dev));
}

static void test_overrun_is_told_once_and_keeps_the_oldest(void **state)
{
	struct serial_test *t = *state;
	out(t, UART_MCR, UART_MCR_LOOP);
	out(t, UART_IER, UART_IER_RLSI);
	out(t, UART_TX, 1);
	out(t, UART_TX, 2);	/* without FIFO there is room for one */
	assert_int_equal(in(t, UART_IIR), UART_IIR_RLSI);
	assert_true(in(t, UART_LSR) & UART_LSR_OE);
	assert_false(in(t, UART_LSR) & UART_LSR_OE);
	assert_false(board_irq(t->dev));
	assert_int_equal(in(t, UART_RX), 1);
}

static bool is_empty(void *arg)
{
	return in(arg, UART_LSR) & UART_LSR_THRE;
}

static void test_a_host_that_takes_nothing_delays_but_loses_nothing(void **state)
{
	struct serial_test *t = *state;
	char page[4096] = { 0 };
	size_t filled = 0;
	ssize_t n;
	while ((n = write(t->host, page, sizeof(page))) > 0)
		filled += (size_t)n;
	for (uint8_t i = 0; i < 3; i++)
		out(t, UART_TX, (uint8_t)('a' + i));
	assert_false(in(t, UART_LSR) & UART_LSR_THRE);
	while (filled > 0) {
		n = read(t->host, page, filled < sizeof(page) ? filled : sizeof(page));
		assert_true(n > 0);
		filled -= (size_t)n;
	}
	board_wait(is_empty, t, "the I/O thread sends what waited");
	assert_int_equal(read(t->host, page, sizeof(page)), 3);
	assert_memory_equal(page, "abc", 3);
}

static void test_reset_forgets_all(void **state)
{
	struct serial_test *t = *state;
	out(t, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(t, UART_IER, UART_IER_THRI);
	out(t, UART_MCR, UART_MCR_LOOP);
	assert_true(board_irq(t->dev));
	device_reset(t->dev);
	assert_false(board_irq(t->dev));
	assert_int_equal(in(t, UART_IER), 0);
	assert_int_equal(in(t, UART_MCR), 0);
	assert_int_equal(in(t, UART_IIR), UART_IIR_NO_INT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_registers_after_power_on),
		T(test_detection_finds_a_16550a),
		T(test_divisor_hides_behind_dlab),
		T(test_bytes_reach_the_host),
		T(test_empty_transmitter_interrupts_once),
		T(test_loopback_returns_bytes_and_modem_lines),
		T(test_received_bytes_interrupt_by_trigger_level),
		T(test_overrun_is_told_once_and_keeps_the_oldest),
		T(test_a_host_that_takes_nothing_delays_but_loses_nothing),
		T(test_reset_forgets_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
