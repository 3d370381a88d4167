/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies without a length, fed in pieces: they are taken wherever the pieces end, and their ends are found. */
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
#include "guest/vmstate-load.h"
#include "tests/vmstate/fake-arch.h"

struct part {
	uint8_t tag;
	uint32_t value;
};

struct dev {
	uint32_t n;
	struct part parts[3];
	uint8_t fifo[5];
	uint8_t five;
	uint16_t late;
	bool has_late;
	unsigned int pre_loads, post_loads;
};

static bool late_needed(void *opaque)
{
	return ((struct dev *)opaque)->has_late;
}

static int dev_pre_load(void *opaque, struct migd_vmstate_error *err)
{
	(void)err;
	((struct dev *)opaque)->pre_loads++;
	return 0;
}

static int dev_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	(void)err;
	(void)version;
	((struct dev *)opaque)->post_loads++;
	return 0;
}

static const struct migd_vmstate part_vmstate = {
	.name = "part", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct part, tag), MIGD_VMS_FIELD_U32(struct part, value), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate late_vmstate = {
	.name = "dev/late", .version = 1, .needed = late_needed,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U16(struct dev, late), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate dev_vmstate = {
	.name = "dev", .version = 2, .minimum_version = 1, .pre_load = dev_pre_load, .post_load = dev_post_load,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U32(struct dev, n),
		MIGD_VMS_FIELD_STRUCT_VARRAY(struct dev, parts, struct part, 3, n, &part_vmstate),
		MIGD_VMS_FIELD_U8(struct dev, five),
		MIGD_VMS_FIELD_BUFFER(struct dev, fifo),
		MIGD_VMS_FIELD_UNUSED(3),
		MIGD_VMS_FIELD_END },
	.subsections = (const struct migd_vmstate *const[]){ &late_vmstate, NULL },
};

/* Behind the last part a 5 that looks like a subsection of "part", for as long as one does not look closely. */
#define FIELDS 0, 0, 0, 2, 0x11, 1, 2, 3, 4, 0x22, 5, 6, 7, 8, 0x05, 9, 'p', 'a', 'r', 'k', 0, 0, 0
#define LATE 0x05, 8, 'd', 'e', 'v', '/', 'l', 'a', 't', 'e', 0, 0, 0, 1, 0xab, 0xcd
#define FOOTER 0x7e, 0, 0, 0, 7
static const uint8_t plain[] = { FIELDS, FOOTER };
static const uint8_t with_late[] = { FIELDS, LATE, FOOTER };

static struct arch_state arch;
static struct guest_tables *tables;
static struct dev dev;
static struct state_feed *feed;

static int setup(void **state)
{
	(void)state;
	fake_arch_init(&arch);
	dev = (struct dev){ .n = 9 };
	tables = calloc(1, sizeof(*tables));
	tables->devices = calloc(1, sizeof(*tables->devices));
	tables->n_devices = 1;
	tables->devices[0] = (struct guest_device){ .name = "dev", .desc = &dev_vmstate, .opaque = &dev };
	return state_feed_new(&arch, tables, &feed, NULL);
}

static int teardown(void **state)
{
	(void)state;
	feed = state_feed_free(feed);
	free(tables->devices);
	free(tables);
	return 0;
}

static void again(void)
{
	(void)teardown(NULL);
	assert_int_equal(setup(NULL), 0);
}

/*
 * Feed LEN bytes as a reader of a stream does: never more than STEP new ones a time, what was not taken again in front of
 * them. Each call sees a copy of its own, so that a read behind it is seen. Returns the bytes taken.
 */
static size_t feed_by(const uint8_t *bytes, size_t len, size_t step, int *ret_code, struct merr *err)
{
	size_t taken = 0, have = 0, needs = 0;
	int r = -EAGAIN;

	while (r == -EAGAIN) {
		struct rcur in;
		uint8_t *copy;

		have = min_u64(len, have + step);
		if (have - taken < needs) {
			assert_true(have < len);	/* it asked for more than a stream is bound to have */
			continue;
		}
		copy = memcpy(malloc(have - taken + 1), bytes + taken, have - taken);
		in = rcur_of(copy, have - taken);
		r = state_feed_bytes(feed, &in, &needs, err);
		taken = have - in.left;
		free(copy);
		if (r == -EAGAIN) {
			assert_true(needs > in.left);
			assert_true(needs <= VMS_LOOKAHEAD_MAX);
		}
	}
	*ret_code = r;
	return taken;
}

static void check_dev(bool late)
{
	assert_int_equal(dev.n, 2);
	assert_int_equal(dev.parts[0].tag, 0x11);
	assert_int_equal(dev.parts[0].value, 0x01020304);
	assert_int_equal(dev.parts[1].tag, 0x22);
	assert_int_equal(dev.parts[1].value, 0x05060708);
	assert_int_equal(dev.five, 5);
	assert_memory_equal(dev.fifo, "\tpark", 5);
	assert_int_equal(dev.late, late ? 0xabcd : 0);
	assert_int_equal(dev.pre_loads, 1);
	assert_int_equal(dev.post_loads, 1);
}

static void pieces_may_end_anywhere(void **state)
{
	static const struct {
		const uint8_t *bytes;
		size_t len;
		bool late;
	} bodies[] = { { plain, sizeof(plain), false }, { with_late, sizeof(with_late), true } };
	int r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		for (size_t step = 1; step <= bodies[i].len; step++) {
			assert_int_equal(state_feed_begin(feed, "dev", 0, 2, 0, NULL), 0);
			assert_int_equal(feed_by(bodies[i].bytes, bodies[i].len, step, &r, NULL),
					 bodies[i].len - 5);
			assert_int_equal(r, 0);
			check_dev(bodies[i].late);
			again();
		}
}

static void all_sections_then_the_end(void **state)
{
	static const uint8_t cpu[] = { 0xca, 0xfe, 0xba, 0xbe, FOOTER };
	struct merr err = MERR_INIT;
	int r;

	(void)state;
	assert_int_equal(state_feed_begin(feed, "fake-cpu", 0, 1, 100, &err), 0);
	assert_int_equal(feed_by(cpu, sizeof(cpu), 64, &r, &err), 4);
	assert_int_equal(state_feed_end(feed, false, &err), -EPROTO);
	assert_string_equal(err.msg, "section 'dev' instance 0 is missing: the source has no such device");
	assert_int_equal(arch.applied, 0);
	assert_int_equal(state_feed_begin(feed, "dev", 0, 2, 200, NULL), 0);
	assert_int_equal(feed_by(plain, sizeof(plain), 64, &r, NULL), sizeof(plain) - 5);
	assert_int_equal(state_feed_end(feed, false, NULL), 0);
	assert_int_equal(arch.cpu, 0xcafebabe);
	assert_int_equal(arch.begun, 1);
	assert_int_equal(arch.applied, 1);
}

static void a_guest_of_ram_only_is_asked_for(void **state)
{
	struct merr err = MERR_INIT;

	(void)state;
	assert_int_equal(state_feed_end(feed, true, &err), 0);
	assert_int_equal(arch.applied, 0);
	assert_int_equal(state_feed_end(feed, false, &err), -EPROTO);
	assert_string_equal(err.msg, "section 'fake-cpu' instance 0 is missing: the source has no such device");
}

static void ram_only_is_no_excuse_for_half_of_it(void **state)
{
	struct merr err = MERR_INIT;
	int r;

	(void)state;
	assert_int_equal(state_feed_begin(feed, "dev", 0, 2, 0, NULL), 0);
	(void)feed_by(plain, sizeof(plain), 64, &r, NULL);
	assert_int_equal(state_feed_end(feed, true, &err), -EPROTO);
	assert_string_equal(err.msg, "section 'fake-cpu' instance 0 is missing: the source has no such device");
}

static void errors_name_section_offset_and_field(void **state)
{
	static const struct {
		uint32_t version;
		uint8_t bytes[16];
		size_t len;
		const char *text;
	} bad[] = {
		{ 3, { 0 }, 1, "section 'dev' instance 0: offset 1000: 'dev' has version 3 at the source, "
		  "this side knows up to 2: the target must be at least as new as the source" },
		{ 2, { 0, 0, 0, 4 }, 5, "section 'dev' instance 0: offset 1004: field 'parts': "
		  "its count is over the description's bound" },
		{ 2, { 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x05, 6, 'p', 'a', 'r', 't', '/' }, 16, NULL },
	};
	struct merr err = MERR_INIT;
	int r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(state_feed_begin(feed, "dev", 0, bad[i].version, 1000, NULL), 0);
		if (bad[i].text) {
			(void)feed_by(bad[i].bytes, bad[i].len, 1, &r, &err);
			assert_string_equal(err.msg, bad[i].text);
		} else {
			uint8_t more[17];

			memcpy(more, bad[i].bytes, 16);
			more[16] = 'x';
			(void)feed_by(more, 17, 1, &r, &err);
			assert_string_equal(err.msg, "section 'dev' instance 0: offset 1009: field 'parts': "
					    "subsection 'part/x' is not known here: the target is older");
		}
		assert_true(r < 0 && r != -EAGAIN);
		merr_clear(&err);
		again();
	}
}

static void the_order_of_calls_is_checked(void **state)
{
	struct merr err = MERR_INIT;
	struct rcur in = rcur_of(plain, 3);
	size_t needs;

	(void)state;
	assert_int_equal(state_feed_bytes(feed, &in, &needs, &err), -EPROTO);
	assert_string_equal(err.msg, "bytes of a section that is complete, or was never begun");
	merr_clear(&err);
	assert_int_equal(state_feed_begin(feed, "toaster", 3, 1, 77, &err), -EINVAL);
	assert_string_equal(err.msg, "section 'toaster' instance 3 at offset 77: there is no such device here: "
			    "start the target VMM with the devices of the source");
	merr_clear(&err);
	assert_int_equal(state_feed_begin(feed, "dev", 0, 2, 0, NULL), 0);
	assert_int_equal(state_feed_bytes(feed, &in, &needs, NULL), -EAGAIN);
	assert_int_equal(state_feed_begin(feed, "fake-cpu", 0, 1, 9, &err), -EPROTO);
	assert_string_equal(err.msg, "section 'fake-cpu' instance 0 begins at offset 9 within section 'dev'");
	merr_clear(&err);
	assert_int_equal(state_feed_end(feed, true, &err), -EPROTO);
	assert_string_equal(err.msg, "section 'dev' instance 0: the stream ends within it");
}

static void a_section_comes_once(void **state)
{
	struct merr err = MERR_INIT;
	int r;

	(void)state;
	assert_int_equal(state_feed_begin(feed, "dev", 0, 2, 0, NULL), 0);
	(void)feed_by(plain, sizeof(plain), 64, &r, NULL);
	assert_int_equal(state_feed_begin(feed, "dev", 0, 2, 50, &err), -EPROTO);
	assert_string_equal(err.msg, "section 'dev' instance 0: comes a second time at offset 50");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(pieces_may_end_anywhere),
		T(all_sections_then_the_end),
		T(a_guest_of_ram_only_is_asked_for),
		T(ram_only_is_no_excuse_for_half_of_it),
		T(errors_name_section_offset_and_field),
		T(the_order_of_calls_is_checked),
		T(a_section_comes_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
