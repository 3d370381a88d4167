/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, keyboard controller, sleep register, ends of the guest, and the bus that leads to them. */
/* LIBS: migd_vmm_core migd_guest_static */
/* SOURCES: board.c */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "board.h"
#include "vmm/control.h"
#include "vmm/payload-abi.h"
#include "vmm/reset.h"
#include "vmm/sleep.h"

static int setup(void **state)
{
	struct board *b = calloc(1, sizeof(*b));
	assert_non_null(b);
	board_prepare(b, 1 << 20);
	board_start(b);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	board_done(*state);
	free(*state);
	return 0;
}

static uint8_t in(struct board *b, uint16_t port)
{
	return (uint8_t)bus_read(&b->m.pio, port, 1);
}

static void out(struct board *b, uint16_t port, uint8_t value)
{
	bus_write(&b->m.pio, port, 1, value);
}

static uint8_t cmos(struct board *b, uint8_t reg)
{
	out(b, 0x70, reg);
	return in(b, 0x71);
}

static void set_cmos(struct board *b, uint8_t reg, uint8_t value)
{
	out(b, 0x70, reg);
	out(b, 0x71, value);
}

static int from_bcd(uint8_t value)
{
	return (value >> 4) * 10 + (value & 15);
}

static time_t cmos_time(struct board *b)
{
	struct tm tm = { .tm_sec = from_bcd(cmos(b, 0)), .tm_min = from_bcd(cmos(b, 2)),
			 .tm_hour = from_bcd(cmos(b, 4)), .tm_mday = from_bcd(cmos(b, 7)),
			 .tm_mon = from_bcd(cmos(b, 8)) - 1,
			 .tm_year = from_bcd(cmos(b, 0x32)) * 100 + from_bcd(cmos(b, 9)) - 1900 };
	return timegm(&tm);
}

static void test_clock_is_the_hosts(void **state)
{
	struct board *b = *state;
	/* A minute may end between two registers; then it does not in the next try. */
	time_t before = time(NULL), now = cmos_time(b);
	if (now < before || now > time(NULL))
		before = time(NULL), now = cmos_time(b);
	assert_in_range(now, before, time(NULL));
	assert_int_equal(cmos(b, 0x0b) & 2, 2);
	assert_int_equal(cmos(b, 0x0d), 0x80);
}

static void test_clock_can_be_set(void **state)
{
	struct board *b = *state;
	static const uint8_t regs[][2] = { { 0x32, 0x20 }, { 9, 0x31 }, { 8, 0x02 }, { 7, 0x03 },
					   { 4, 0x04 },	   { 2, 0x05 }, { 0, 0x06 } };
	set_cmos(b, 0x0b, 0x82);	/* hold it, 24 hours, BCD */
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		set_cmos(b, regs[i][0], regs[i][1]);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		assert_int_equal(cmos(b, regs[i][0]), regs[i][1]);
	set_cmos(b, 0x0b, 0x02);
	struct tm set = { .tm_year = 131, .tm_mon = 1, .tm_mday = 3, .tm_hour = 4, .tm_min = 5,
			  .tm_sec = 6 };
	assert_in_range(cmos_time(b), timegm(&set), timegm(&set) + 5);
}

static void test_clock_in_binary_and_12_hours(void **state)
{
	struct board *b = *state;
	set_cmos(b, 0x0b, 0x82);
	set_cmos(b, 4, 0x15);	/* 3 in the afternoon */
	set_cmos(b, 0x0b, 0x80);
	assert_int_equal(cmos(b, 4), 0x80 | 0x03);
	set_cmos(b, 0x0b, 0x84 | 0x02);
	assert_int_equal(cmos(b, 4), 15);
	set_cmos(b, 0x0b, 0x84);
	set_cmos(b, 4, 12);	/* midnight */
	set_cmos(b, 0x0b, 0x86);
	assert_int_equal(cmos(b, 4), 0);
}

static void test_cmos_keeps_bytes(void **state)
{
	struct board *b = *state;
	set_cmos(b, 0x40, 0x99);
	assert_int_equal(cmos(b, 0x40), 0x99);
	assert_int_equal(cmos(b, 0xc0), 0x99);	/* bit 7 is the NMI's */
}

static void test_keyboard_controller_answers(void **state)
{
	struct board *b = *state;
	out(b, 0x64, 0xaa);
	assert_int_equal(in(b, 0x64) & 1, 1);
	assert_int_equal(in(b, 0x60), 0x55);
	assert_int_equal(in(b, 0x64) & 1, 0);
	out(b, 0x64, 0x60);
	out(b, 0x60, 0x47);
	out(b, 0x64, 0x20);
	assert_int_equal(in(b, 0x60), 0x47);
}

static void test_keyboard_controller_resets(void **state)
{
	struct board *b = *state;
	assert_false(reset_pending(b->m.reset));
	out(b, 0x64, 0xfe);
	assert_true(reset_pending(b->m.reset));
}

static void expect_end(struct board *b, enum end_reason reason, int status)
{
	int got;
	assert_int_equal(control_run(&b->m, &got), reason);
	assert_int_equal(got, status);
}

static void test_exit_port_ends_with_its_status(void **state)
{
	struct board *b = *state;
	out(b, PAYLOAD_PORT_EXIT, 42);
	out(b, PAYLOAD_PORT_EXIT, 43);	/* the first counts */
	expect_end(b, END_EXIT, 42);
}

static void test_poweroff_wants_its_value(void **state)
{
	struct board *b = *state;
	out(b, PAYLOAD_PORT_POWEROFF, 0x33);
	out(b, PAYLOAD_PORT_EXIT, 7);
	expect_end(b, END_EXIT, 7);
}

static bool is_awake(void *arg)
{
	return in(arg, PAYLOAD_PORT_SLEEP) == 0;
}

static void test_sleep_ends_by_wake_up_and_by_timer(void **state)
{
	struct board *b = *state;
	out(b, PAYLOAD_PORT_SLEEP, PAYLOAD_SLEEP_VALUE);
	assert_false(is_awake(b));
	sleep_wake(b->m.sleep);
	assert_true(is_awake(b));
	bus_write(&b->m.pio, PAYLOAD_PORT_SLEEP + 4, 4, 20);
	out(b, PAYLOAD_PORT_SLEEP, PAYLOAD_SLEEP_VALUE);
	board_wait(is_awake, b, "the timer wakes the guest");
}

static void test_sleep_timer_stands_still_while_quiesced(void **state)
{
	struct board *b = *state;
	const struct device_type *type = b->m.sleep->type;
	bus_write(&b->m.pio, PAYLOAD_PORT_SLEEP + 4, 4, 20);
	out(b, PAYLOAD_PORT_SLEEP, PAYLOAD_SLEEP_VALUE);
	type->quiesce(b->m.sleep);
	struct timespec longer = { .tv_nsec = 60000000 };
	(void)nanosleep(&longer, NULL);
	assert_false(is_awake(b));
	type->unquiesce(b->m.sleep);
	board_wait(is_awake, b, "the timer goes on");
}

static void test_bus_refuses_overlaps_and_splits_wide_accesses(void **state)
{
	struct board *b = *state;
	assert_int_equal(bus_add(&b->m.pio, 0x3ff, 2, b->m.sleep), -EEXIST);
	assert_int_equal(bus_add(&b->m.pio, 0x6f, 1, b->m.sleep), 0);
	bus_write(&b->m.pio, 0x70, 2, 0x1240);	/* index, then data */
	assert_int_equal(cmos(b, 0x40), 0x12);
	assert_int_equal(bus_read(&b->m.pio, 0xcf8, 4), 0xffffffff);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_clock_is_the_hosts),
		T(test_clock_can_be_set),
		T(test_clock_in_binary_and_12_hours),
		T(test_cmos_keeps_bytes),
		T(test_keyboard_controller_answers),
		T(test_keyboard_controller_resets),
		T(test_exit_port_ends_with_its_status),
		T(test_poweroff_wants_its_value),
		T(test_sleep_ends_by_wake_up_and_by_timer),
		T(test_sleep_timer_stands_still_while_quiesced),
		T(test_bus_refuses_overlaps_and_splits_wide_accesses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
