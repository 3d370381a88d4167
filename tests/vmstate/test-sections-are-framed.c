/* SPDX-License-Identifier: Apache-2.0 */
/* FULL sections of WIRE.md 1.2: the bytes, the description, and each way a stream of them is refused. */
/* LIBS: migd_guest migd_base */
/* SOURCES: fake-arch.c */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "guest/state.h"
#include "tests/vmstate/fake-arch.h"

struct dev {
	uint16_t v;
	bool sleeps;
};

static bool dev_awake(void *opaque)
{
	return !((struct dev *)opaque)->sleeps;
}

#define FIELDS (const struct migd_vmstate_field[]){ MIGD_VMS_FIELD_U16(struct dev, v), MIGD_VMS_FIELD_END }
static const struct migd_vmstate uart_vmstate = { .name = "uart", .version = 2, .minimum_version = 1, .fields = FIELDS };
static const struct migd_vmstate rng_vmstate = { .name = "rng", .version = 1, .fields = FIELDS, .needed = dev_awake };

static struct arch_state arch;
static struct guest_tables *tables;
static struct dev uart, rng;

static const uint8_t good[] = {
	4, 0, 0, 0, 9, 8, 'f', 'a', 'k', 'e', '-', 'c', 'p', 'u', 0, 0, 0, 0, 0, 0, 0, 1,
	0xca, 0xfe, 0xba, 0xbe, 0x7e, 0, 0, 0, 9,
	4, 0, 0, 0, 10, 5, 'u', 'a', 'r', 't', '0', 0, 0, 0, 3, 0, 0, 0, 2, 0x12, 0x34, 0x7e, 0, 0, 0, 10,
	4, 0, 0, 0, 11, 3, 'r', 'n', 'g', 0, 0, 0, 0, 0, 0, 0, 1, 0x56, 0x78, 0x7e, 0, 0, 0, 11,
};
#define UART_AT 31
#define RNG_AT 57

static int setup(void **state)
{
	(void)state;
	fake_arch_init(&arch);
	arch.cpu = 0xcafebabe;
	uart = (struct dev){ .v = 0x1234 };
	rng = (struct dev){ .v = 0x5678 };
	tables = calloc(1, sizeof(*tables));
	tables->devices = calloc(2, sizeof(*tables->devices));
	tables->n_devices = 2;
	tables->devices[0] = (struct guest_device){ .name = "uart0", .instance = 3, .desc = &uart_vmstate, .opaque = &uart };
	tables->devices[1] = (struct guest_device){ .name = "rng", .desc = &rng_vmstate, .opaque = &rng };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(tables->devices);
	free(tables);
	return 0;
}

static void sections_have_headers_bodies_and_footers(void **state)
{
	struct buf out = { 0 }, json = { 0 };
	uint32_t n = 0;

	(void)state;
	assert_int_equal(guest_state_save(&arch, tables, 9, &out, &json, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_int_equal(arch.captured, 1);
	assert_int_equal(out.len, sizeof(good));
	assert_memory_equal(out.data, good, sizeof(good));
	buf_u8(&json, 0);
	assert_string_equal((char *)json.data,
		"{\"name\": \"fake-cpu\", \"instance_id\": 0, \"vmsd_name\": \"fake-cpu\", \"version\": 1, "
		"\"fields\": [{\"name\": \"cpu\", \"type\": \"uint32\", \"size\": 4}]}, "
		"{\"name\": \"uart0\", \"instance_id\": 3, \"vmsd_name\": \"uart\", \"version\": 2, "
		"\"fields\": [{\"name\": \"v\", \"type\": \"uint16\", \"size\": 2}]}, "
		"{\"name\": \"rng\", \"instance_id\": 0, \"vmsd_name\": \"rng\", \"version\": 1, "
		"\"fields\": [{\"name\": \"v\", \"type\": \"uint16\", \"size\": 2}]}");
	buf_done(&out);
	buf_done(&json);
}

static void a_device_that_is_not_needed_is_not_sent_and_may_be_absent(void **state)
{
	struct buf out = { 0 }, json = { 0 };
	uint32_t n = 0;

	(void)state;
	rng.sleeps = true;
	assert_int_equal(guest_state_save(&arch, tables, 9, &out, &json, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(out.len, RNG_AT);
	assert_int_equal(guest_state_load(&arch, tables, out.data, out.len, NULL), 0);
	buf_done(&out);
	buf_done(&json);
}

static void what_was_saved_is_loaded_then_applied(void **state)
{
	(void)state;
	arch.cpu = 0;
	uart.v = rng.v = 0;
	assert_int_equal(guest_state_load(&arch, tables, good, sizeof(good), NULL), 0);
	assert_int_equal(arch.cpu, 0xcafebabe);
	assert_int_equal(uart.v, 0x1234);
	assert_int_equal(rng.v, 0x5678);
	assert_int_equal(arch.begun, 1);
	assert_int_equal(arch.applied, 1);
}

static void the_order_does_not_matter(void **state)
{
	uint8_t turned[sizeof(good)];

	(void)state;
	memcpy(turned, good + UART_AT, sizeof(good) - UART_AT);
	memcpy(turned + sizeof(good) - UART_AT, good, UART_AT);
	assert_int_equal(guest_state_load(&arch, tables, turned, sizeof(turned), NULL), 0);
}

/* LEN bytes of good with the byte at AT replaced. */
static void each_fault_has_its_text(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
		size_t len;
		int code;
		const char *text;
	} bad[] = {
		{ 0, 4, 0, -EPROTO, "section 'fake-cpu' instance 0 is missing: the source has no such device" },
		{ 0, 4, UART_AT, -EPROTO, "section 'uart0' instance 3 is missing: the source has no such device" },
		{ 0, 1, sizeof(good), -EPROTO,
		  "offset 0: a section of type 0x01 where only whole devices (0x04) may come" },
		{ 0, 4, 21, -EPROTO, "offset 0: the data ends in a section's header" },
		{ 5, 0, sizeof(good), -EPROTO, "offset 0: a section without a name" },
		{ 6, 7, sizeof(good), -EPROTO, "offset 0: a section's name is not printable ASCII" },
		{ 6, 'm', sizeof(good), -EINVAL,
		  "section 'make-cpu' instance 0 at offset 0: there is no such device here: "
		  "start the target VMM with the devices of the source" },
		{ UART_AT + 14, 4, sizeof(good), -EINVAL,
		  "section 'uart0' instance 4 at offset 31: there is no such device here: "
		  "start the target VMM with the devices of the source" },
		{ UART_AT + 18, 3, sizeof(good), -EINVAL,
		  "section 'uart0' instance 3: offset 50: 'uart' has version 3 at the source, this side knows up to 2: "
		  "the target must be at least as new as the source" },
		{ UART_AT + 18, 0, sizeof(good), -EINVAL,
		  "section 'uart0' instance 3: offset 50: 'uart' has version 0 at the source, this side needs at least 1" },
		{ 0, 4, UART_AT + 20, -EPROTO,
		  "section 'uart0' instance 3: offset 50: field 'v': the data ends here: 2 bytes are needed, 1 are left" },
		{ 0, 4, UART_AT + 23, -EPROTO,
		  "section 'uart0' instance 3: offset 52: the data ends before the footer" },
		{ UART_AT + 21, 0x7f, sizeof(good), -EPROTO,
		  "section 'uart0' instance 3: offset 52: 0x7f in place of the footer: the source's fields are not ours" },
		{ UART_AT + 25, 11, sizeof(good), -EPROTO,
		  "section 'uart0' instance 3: offset 52: footer of section 11 after section 10" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t *copy = memcpy(malloc(sizeof(good)), good, sizeof(good));
		struct merr err = MERR_INIT;
		int r;

		copy[bad[i].at] = bad[i].byte;
		copy = realloc(copy, bad[i].len ? bad[i].len : 1);
		r = guest_state_load(&arch, tables, copy, bad[i].len, &err);
		assert_string_equal(err.msg, bad[i].text);
		assert_int_equal(r, bad[i].code);
		assert_int_equal(arch.applied, 0);
		free(copy);
	}
}

static void a_section_comes_once(void **state)
{
	uint8_t twice[2 * sizeof(good)];
	struct merr err = MERR_INIT;

	(void)state;
	memcpy(twice, good, sizeof(good));
	memcpy(twice + sizeof(good), good, sizeof(good));
	assert_int_equal(guest_state_load(&arch, tables, twice, sizeof(twice), &err), -EPROTO);
	assert_string_equal(err.msg, "section 'fake-cpu' instance 0: comes a second time at offset 81");
}

static void a_failure_to_apply_is_passed_on(void **state)
{
	struct merr err = MERR_INIT;

	(void)state;
	arch.apply_says = -EPERM;
	assert_int_equal(guest_state_load(&arch, tables, good, sizeof(good), &err), -EPERM);
	assert_string_equal(err.msg, "the fake CPU says no");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(sections_have_headers_bodies_and_footers),
		T(a_device_that_is_not_needed_is_not_sent_and_may_be_absent),
		T(what_was_saved_is_loaded_then_applied),
		T(the_order_does_not_matter),
		T(each_fault_has_its_text),
		T(a_section_comes_once),
		T(a_failure_to_apply_is_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
