/* SPDX-License-Identifier: Apache-2.0 */
/* Devices with callbacks in place of a description, devices under their old names, devices that may not move. */
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

/* A device that loads itself: a count, then so many bytes; then 0xcafe. */
struct fifo {
	uint32_t n;
	uint8_t bytes[300];
	unsigned int tries;
	int says;
	bool fickle;
};

static int fifo_save(void *opaque, struct migd_guest_writer *w, struct migd_vmstate_error *err)
{
	struct fifo *f = opaque;

	if (f->says)
		return migd_vmstate_fail(err, f->says, "the FIFO is stuck at %u", f->n);
	migd_guest_write_be(w, f->n, 4);
	migd_guest_write(w, f->bytes, f->n);
	migd_guest_write_be(w, 0xcafe, 2);
	return 0;
}

static int fifo_load(void *opaque, struct migd_guest_reader *r, uint32_t version, struct migd_vmstate_error *err)
{
	struct fifo *f = opaque;
	uint8_t bytes[sizeof(f->bytes)];
	uint64_t n, end;
	int c;

	(void)version;
	f->tries++;
	c = migd_guest_read_be(r, &n, f->fickle && f->tries > 1 ? 1 : 4);
	if (c < 0 || (f->fickle && f->tries > 1))
		return c;
	if (n > sizeof(bytes))
		return migd_vmstate_fail(err, -EINVAL, "%u bytes do not fit the FIFO", (unsigned int)n);
	c = migd_guest_read(r, bytes, n);
	if (c == 0)
		c = migd_guest_read_be(r, &end, 2);
	if (c < 0)
		return c;
	if (end != 0xcafe)
		return -EBADMSG;
	f->n = (uint32_t)n;
	memcpy(f->bytes, bytes, n);
	return 0;
}

static struct migd_guest_device_ops fifo_ops = {
	.size = sizeof(fifo_ops), .version = 3, .minimum_version = 2, .save = fifo_save, .load = fifo_load,
};
static const struct migd_vmstate fifo_desc = { .version = 3, .minimum_version = 2 };	/* as registration makes it up */

struct rtc {
	uint16_t v;
};
static const struct migd_vmstate rtc_desc = {
	.name = "rtc", .version = 4, .minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){ MIGD_VMS_FIELD_U16(struct rtc, v), MIGD_VMS_FIELD_END },
};

static struct arch_state arch;
static struct guest_tables *tables;
static struct fifo fifo;
static struct rtc rtc;

static int setup(void **state)
{
	(void)state;
	fake_arch_init(&arch);
	fifo = (struct fifo){ .n = 3, .bytes = "abc" };
	rtc = (struct rtc){ .v = 0x1234 };
	tables = calloc(1, sizeof(*tables));
	tables->devices = calloc(2, sizeof(*tables->devices));
	tables->n_devices = 2;
	tables->devices[0] = (struct guest_device){ .name = "fifo", .desc = &fifo_desc, .ops = &fifo_ops, .opaque = &fifo };
	tables->devices[1] = (struct guest_device){
		.name = "0000:00:01.0/rtc", .instance = 0, .desc = &rtc_desc, .opaque = &rtc,
		.alias = { .is_set = true, .name = "rtc", .instance = 7, .version = 2 } };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(tables->devices);
	free(tables);
	return 0;
}

#define CPU 4, 0, 0, 0, 0, 8, 'f', 'a', 'k', 'e', '-', 'c', 'p', 'u', 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x7e, 0, 0, 0, 0
#define FIFO_HEAD(v) 4, 0, 0, 0, 1, 4, 'f', 'i', 'f', 'o', 0, 0, 0, 0, 0, 0, 0, v
#define FIFO_BODY 0, 0, 0, 3, 'a', 'b', 'c', 0xca, 0xfe
#define RTC_OLD(instance, v) 4, 0, 0, 0, 2, 3, 'r', 't', 'c', 0, 0, 0, instance, 0, 0, 0, v, 0x56, 0x78, 0x7e, 0, 0, 0, 2
#define FIFO_AT 31

static void an_old_style_device_is_one_opaque_section(void **state)
{
	static const uint8_t want[] = { FIFO_HEAD(3), FIFO_BODY, 0x7e, 0, 0, 0, 1 };
	struct buf out = { 0 }, json = { 0 };
	uint32_t n;

	(void)state;
	assert_int_equal(guest_state_save(&arch, tables, 0, &out, &json, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(out.data + FIFO_AT, want, sizeof(want));
	buf_u8(&json, 0);
	assert_non_null(strstr((char *)json.data,
		"}, {\"name\": \"fifo\", \"instance_id\": 0, \"size\": 9, \"fields\": "
		"[{\"name\": \"data\", \"size\": 9, \"type\": \"buffer\"}]}, {\"name\": \"0000:00:01.0/rtc\""));
	fifo = (struct fifo){ 0 };
	rtc.v = 0;
	assert_int_equal(guest_state_load(&arch, tables, out.data, out.len, NULL), 0);
	assert_int_equal(fifo.n, 3);
	assert_memory_equal(fifo.bytes, "abc", 3);
	assert_int_equal(fifo.tries, 1);
	assert_int_equal(rtc.v, 0x1234);
	buf_done(&out);
	buf_done(&json);
}

static void its_words_are_passed_on(void **state)
{
	struct buf out = { 0 }, json = { 0 };
	struct merr err = MERR_INIT;
	uint32_t n;

	(void)state;
	fifo.says = -EBUSY;
	assert_int_equal(guest_state_save(&arch, tables, 0, &out, &json, &n, &err), -EBUSY);
	assert_string_equal(err.msg, "saving section 'fifo' instance 0: save failed: the FIFO is stuck at 3");
	buf_done(&out);
	buf_done(&json);
}

static void what_it_refuses_has_its_place(void **state)
{
	static const struct {
		uint8_t bytes[32];
		size_t len;
		int code;
		const char *text;
	} bad[] = {
		{ { FIFO_HEAD(4) }, 18, -EINVAL, "section 'fifo' instance 0: offset 18: version 4 at the source, "
		  "this side knows up to 3: the target must be at least as new as the source" },
		{ { FIFO_HEAD(1) }, 18, -EINVAL, "section 'fifo' instance 0: offset 18: version 1 at the source, "
		  "this side needs at least 2" },
		{ { FIFO_HEAD(3), 0, 0, 1, 0x2d }, 22, -EINVAL,
		  "section 'fifo' instance 0: offset 22: load refused what it got: 301 bytes do not fit the FIFO" },
		{ { FIFO_HEAD(2), 0, 0, 0, 2, 'a' }, 23, -EPROTO,
		  "section 'fifo' instance 0: offset 22: the data ends here: 2 bytes are needed, 1 are left" },
		{ { FIFO_HEAD(2), 0, 0, 0, 0, 1, 2 }, 24, -EBADMSG,
		  "section 'fifo' instance 0: offset 24: load refused what it got: Bad message" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t *copy = memcpy(malloc(bad[i].len), bad[i].bytes, bad[i].len);
		struct merr err = MERR_INIT;

		assert_int_equal(guest_state_load(&arch, tables, copy, bad[i].len, &err), bad[i].code);
		assert_string_equal(err.msg, bad[i].text);
		free(copy);
	}
}

/* Fed STEP bytes a time, nothing behind the section but its footer. */
static int feed_fifo(struct state_feed *feed, const uint8_t *bytes, size_t len, size_t step, size_t *ret_taken,
		     struct merr *err)
{
	size_t taken = 0, have = 0, needs = 0;
	int r = -EAGAIN;

	while (r == -EAGAIN) {
		struct rcur in;

		have = min_u64(len, have + step);
		if (have - taken < needs) {
			assert_true(have < len);
			continue;
		}
		in = rcur_of(bytes + taken, have - taken);
		r = state_feed_bytes(feed, &in, &needs, err);
		taken = have - in.left;
	}
	*ret_taken = taken;
	return r;
}

static void it_is_asked_again_until_all_came(void **state)
{
	static const uint8_t body[] = { FIFO_BODY, 0x7e, 0, 0, 0, 1 };
	struct state_feed *feed;
	size_t taken;

	(void)state;
	for (size_t step = 1; step <= sizeof(body); step++) {
		fifo = (struct fifo){ 0 };
		assert_int_equal(state_feed_new(&arch, tables, &feed, NULL), 0);
		assert_int_equal(state_feed_begin(feed, "fifo", 0, 3, 0, NULL), 0);
		assert_int_equal(feed_fifo(feed, body, sizeof(body), step, &taken, NULL), 0);
		assert_int_equal(taken, 9);
		assert_memory_equal(fifo.bytes, "abc", 3);
		/* Not for each byte: it said how far it must read, for the count, the bytes and the mark. */
		assert_in_range(fifo.tries, 1, 4);
		feed = state_feed_free(feed);
	}
}

static void a_device_that_reads_otherwise_each_time_is_caught(void **state)
{
	static const uint8_t body[] = { FIFO_BODY };
	struct merr err = MERR_INIT;
	struct state_feed *feed;
	size_t taken;

	(void)state;
	fifo.fickle = true;
	assert_int_equal(state_feed_new(&arch, tables, &feed, NULL), 0);
	assert_int_equal(state_feed_begin(feed, "fifo", 0, 3, 50, NULL), 0);
	assert_int_equal(feed_fifo(feed, body, sizeof(body), 4, &taken, &err), -EIO);
	assert_string_equal(err.msg, "section 'fifo' instance 0: offset 50: load read 1 bytes, but wanted more before");
	feed = state_feed_free(feed);
}

static int greedy_load(void *opaque, struct migd_guest_reader *r, uint32_t version, struct migd_vmstate_error *err)
{
	(void)version;
	(void)err;
	return migd_guest_read(r, opaque, 64 * MIB);
}

static void what_it_may_hold_is_bounded(void **state)
{
	struct migd_guest_device_ops greedy = fifo_ops;
	uint8_t *piece = calloc(1, 60000);
	struct merr err = MERR_INIT;
	struct state_feed *feed;
	size_t needs, fed = 0;
	int r;

	(void)state;
	greedy.load = greedy_load;
	tables->devices[0].ops = &greedy;
	assert_int_equal(state_feed_new(&arch, tables, &feed, NULL), 0);
	assert_int_equal(state_feed_begin(feed, "fifo", 0, 3, 0, NULL), 0);
	do {
		struct rcur in = rcur_of(piece, 60000);

		r = state_feed_bytes(feed, &in, &needs, &err);
		fed += 60000;
	} while (r == -EAGAIN);
	assert_int_equal(r, -E2BIG);
	assert_string_equal(err.msg, "section 'fifo' instance 0: offset 0: more than 4194304 bytes in one section");
	assert_true(fed < 5 * MIB);
	feed = state_feed_free(feed);
	free(piece);
}

static void an_old_stream_may_use_the_old_name(void **state)
{
	static const struct {
		uint8_t instance, version;
		bool found;
	} cases[] = { { 7, 1, true }, { 7, 2, true }, { 7, 3, false }, { 6, 2, false } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t stream[] = { CPU, FIFO_HEAD(3), FIFO_BODY, 0x7e, 0, 0, 0, 1,
				     RTC_OLD(cases[i].instance, cases[i].version) };
		struct merr err = MERR_INIT;
		int r = guest_state_load(&arch, tables, stream, sizeof(stream), &err);

		assert_int_equal(r, cases[i].found ? 0 : -EINVAL);
		if (cases[i].found)
			assert_int_equal(rtc.v, 0x5678);
		else
			assert_non_null(strstr(err.msg, "there is no such device here"));
		rtc.v = 0;
	}
}

static void a_device_comes_once_whatever_its_name(void **state)
{
	uint8_t stream[] = { RTC_OLD(7, 1), RTC_OLD(7, 1) };
	struct merr err = MERR_INIT;

	(void)state;
	assert_int_equal(guest_state_load(&arch, tables, stream, sizeof(stream), &err), -EPROTO);
	assert_string_equal(err.msg, "section 'rtc' instance 7: comes a second time at offset 24");
}

static void a_device_that_may_not_move_blocks_all(void **state)
{
	static char why[] = "it passes a host's disk through";
	const char *text = "device 'fifo' instance 0 cannot be migrated: it passes a host's disk through";
	struct buf out = { 0 }, json = { 0 };
	struct merr err = MERR_INIT;
	struct state_feed *feed = NULL;
	static struct mismatches found;
	uint32_t n;

	(void)state;
	tables->devices[0].unmigratable = why;
	assert_int_equal(guest_config_get(&arch, tables, &out, &err), -EPERM);
	assert_string_equal(err.msg, text);
	merr_clear(&err);
	assert_int_equal(guest_config_check(&arch, tables, (const uint8_t *)"", 0, &found, &err), -EPERM);
	assert_string_equal(err.msg, text);
	merr_clear(&err);
	assert_int_equal(guest_state_save(&arch, tables, 0, &out, &json, &n, &err), -EPERM);
	merr_clear(&err);
	assert_int_equal(guest_state_load(&arch, tables, (const uint8_t *)"", 0, &err), -EPERM);
	merr_clear(&err);
	assert_int_equal(state_feed_new(&arch, tables, &feed, &err), -EPERM);
	assert_string_equal(err.msg, text);
	buf_done(&out);
	buf_done(&json);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_old_style_device_is_one_opaque_section),
		T(its_words_are_passed_on),
		T(what_it_refuses_has_its_place),
		T(it_is_asked_again_until_all_came),
		T(a_device_that_reads_otherwise_each_time_is_caught),
		T(what_it_may_hold_is_bounded),
		T(an_old_stream_may_use_the_old_name),
		T(a_device_comes_once_whatever_its_name),
		T(a_device_that_may_not_move_blocks_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
