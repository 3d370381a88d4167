/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that are checked, counted bytes and bits, pointers that may be NULL, fixed versions, temporary structs: the bytes
 * of WIRE.md 2.1, the description of 1.4, and back from pieces of any size. */
/* LIBS: migd_guest migd_base */
/* SOURCES: shapes.c */
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
#include "guest/vmstate-load.h"
#include "tests/vmstate/shapes.h"

static const uint8_t bytes[] = {
	0xff, 0xff, 0xff, 0xfe,				/* same: -2 */
	0x00, 0x00, 0x00, 0x05,				/* at_most */
	0x3f, 0xf8, 0, 0, 0, 0, 0, 0,			/* 1.5 */
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,	/* not armed */
	0x00, 0x00, 0x00, 0x02, 0x02,			/* n, n8 */
	0, 1, 0, 2, 0, 3, 0, 4,				/* pairs */
	'i', 'n',
	'b', 'l', 'o', 'b', 'b', 'y',
	0x80, 0, 0, 0, 0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0, 0, 0x21,	/* bits 0, 63, 64, 69 */
	0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 0x05,		/* n_bits, bits 0 and 2 */
	0, 11, 0, 12,					/* to */
	0, 13, 0, 14, 0x30,				/* maybe, never */
	0x30, 0x30, 0, 15, 0, 16, 0, 17, 0, 18, 0x30,	/* some */
	0x77, 0x30,
	0, 19,						/* old: x alone */
	0x00, 0x7d,					/* 125 s */
	'm', 'e', '!',
};

#define POINT "\"struct\": {\"vmsd_name\": \"point\", \"version\": 2, \"fields\": [" \
	"{\"name\": \"x\", \"type\": \"uint16\", \"size\": 2}, {\"name\": \"y\", \"type\": \"uint16\", \"size\": 2}]}, \"size\": 4}, "
static const char json_text[] =
	"\"vmsd_name\": \"shapes\", \"version\": 1, \"fields\": ["
	"{\"name\": \"same\", \"type\": \"int32 equal\", \"size\": 4}, "
	"{\"name\": \"at_most\", \"type\": \"int32 le\", \"size\": 4}, "
	"{\"name\": \"d\", \"type\": \"CPU_Double_U\", \"size\": 8}, "
	"{\"name\": \"timer\", \"type\": \"timer\", \"size\": 8}, "
	"{\"name\": \"n\", \"type\": \"int32\", \"size\": 4}, "
	"{\"name\": \"n8\", \"type\": \"uint8\", \"size\": 1}, "
	"{\"name\": \"pairs\", \"array_len\": 4, \"type\": \"uint16\", \"size\": 2}, "
	"{\"name\": \"inlined\", \"type\": \"buffer\", \"size\": 2}, "
	"{\"name\": \"blob\", \"type\": \"buffer\", \"size\": 6}, "
	"{\"name\": \"bits\", \"type\": \"bitmap\", \"size\": 16}, "
	"{\"name\": \"n_bits\", \"type\": \"uint16\", \"size\": 2}, "
	"{\"name\": \"more_bits\", \"type\": \"bitmap\", \"size\": 8}, "
	"{\"name\": \"to\", \"type\": \"struct\", " POINT
	"{\"name\": \"maybe\", \"type\": \"struct\", " POINT
	"{\"name\": \"never\", \"type\": \"nullptr\", \"size\": 1}, "
	"{\"name\": \"some\", \"array_len\": 2, \"type\": \"nullptr\", \"size\": 1}, "
	"{\"name\": \"some\", \"array_len\": 2, \"type\": \"struct\", " POINT
	"{\"name\": \"some\", \"type\": \"nullptr\", \"size\": 1}, "
	"{\"name\": \"numbers\", \"type\": \"uint8\", \"size\": 1}, "
	"{\"name\": \"numbers\", \"type\": \"nullptr\", \"size\": 1}, "
	"{\"name\": \"old\", \"type\": \"vstruct\", \"struct\": {\"vmsd_name\": \"point\", \"version\": 1, \"fields\": ["
	"{\"name\": \"x\", \"type\": \"uint16\", \"size\": 2}]}, \"size\": 2}, "
	"{\"name\": \"tmp\", \"type\": \"tmp\", \"struct\": {\"vmsd_name\": \"time\", \"version\": 1, \"fields\": ["
	"{\"name\": \"seconds\", \"type\": \"uint16\", \"size\": 2}]}, \"size\": 2}, "
	"{\"name\": \"name\", \"type\": \"buffer\", \"size\": 3}]";

static void they_have_their_bytes_and_words(void **state)
{
	struct buf out = { 0 }, json = { 0 };
	struct merr err = MERR_INIT;
	struct behind b;
	struct shapes s = shapes_fill(&b);

	(void)state;
	assert_int_equal(vmstate_check(&shapes_vmstate, &err), 0);
	assert_int_equal(vmstate_save(&shapes_vmstate, &s, &out, &json, &err), 0);
	assert_int_equal(out.len, sizeof(bytes));
	assert_memory_equal(out.data, bytes, sizeof(bytes));
	buf_u8(&json, 0);
	assert_string_equal((char *)json.data, json_text);
	buf_done(&out);
	buf_done(&json);
}

static void check_loaded(const struct shapes *s, const struct behind *b)
{
	assert_int_equal(s->at_most, 5);
	assert_true(s->d == 1.5);
	assert_true(s->timer == MIGD_VMS_TIMER_OFF);
	assert_memory_equal(s->pairs, ((uint16_t[]){ 1, 2, 3, 4, 0, 0 }), 12);
	assert_memory_equal(s->inlined, "in\0", 4);
	assert_memory_equal(b->blob, "blobby\0\0", 9);
	assert_true(s->bits[0] == (1ULL << 63 | 1) && s->bits[1] == 0x21);
	assert_true(b->more_bits[0] == 5 && b->more_bits[1] == 0);
	assert_true(b->to.x == 11 && b->to.y == 12 && b->maybe.x == 13 && b->maybe.y == 14);
	assert_true(b->some[0].x == 15 && b->some[1].y == 18 && b->number == 0x77);
	assert_true(s->old.x == 19 && s->old.y == 99);
	assert_true(s->minutes == 2 && s->seconds == 5);
	assert_memory_equal(s->name, "..me!...", 8);
}

static void they_come_back_from_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t step = 1; step <= sizeof(bytes) + 1; step++) {
		struct behind b = { 0 };
		struct shapes s = shapes_hold(&b);
		struct vms_loader l;
		size_t taken = 0, have = 0;
		int r;

		vms_loader_begin(&l, &shapes_vmstate, &s, 1, 0);
		do {
			struct rcur in;

			have = min_u64(have + step, sizeof(bytes));
			in = rcur_of(bytes + taken, have - taken);
			r = vms_loader_feed(&l, &in, have == sizeof(bytes), NULL);
			taken = have - in.left;
		} while (r == -EAGAIN);
		assert_int_equal(r, 0);
		assert_int_equal(taken, sizeof(bytes));
		check_loaded(&s, &b);
		vms_loader_done(&l);
	}
}

/* One byte of the good ones changed, or the end. */
static const struct {
	size_t at;
	uint8_t byte;
	size_t len;
	int code;
	const char *text;
} bad[] = {
	{ 3, 0xff, 0, -EINVAL, "offset 0: field 'same': must be equal on both sides, but is -1 at the source and -2 here" },
	{ 7, 10, 0, -EINVAL, "offset 4: field 'at_most': is 10 at the source, 0 to 9 expected here" },
	{ 4, 0x80, 0, -EINVAL, "offset 4: field 'at_most': is -2147483643 at the source, 0 to 9 expected here" },
	{ 24, 0x80, 0, -EPROTO, "offset 37: field 'inlined': its count is negative" },
	{ 27, 5, 0, -EPROTO, "offset 37: field 'inlined': its count is over the description's bound" },
	{ 28, 4, 0, -EPROTO, "offset 29: field 'pairs': its count is over the description's bound" },
	{ 61, 1, 0, -EPROTO, "offset 63: field 'more_bits': its count is over the description's bound" },
	{ 79, 0x31, 0, -EINVAL, "offset 79: field 'never': there is nothing here (NULL), but something at the source" },
	{ 81, 0, 0, -EINVAL, "offset 81: field 'some[1]': there is nothing here (NULL), but something at the source" },
	{ 95, 0x0e, 0, -ERANGE,
	  "offset 97: field 'tmp': post_load of 'time' refused what it got: 3709 seconds are more than an hour" },
	{ 0, 0xff, 40, -EPROTO, "offset 39: field 'blob': the data ends here: 6 bytes are needed, 1 are left" },
	{ 0, 0xff, 50, -EPROTO, "offset 45: field 'bits': the data ends here: 8 bytes are needed, 5 are left" },
	{ 0, 0xff, 96, -EPROTO, "offset 95: field 'tmp.seconds': the data ends here: 2 bytes are needed, 1 are left" },
};

static void what_does_not_fit_is_refused_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t len = bad[i].len ? bad[i].len : sizeof(bytes);
		uint8_t *copy = memcpy(malloc(len), bytes, len);
		struct rcur in = rcur_of(copy, len);
		struct merr err = MERR_INIT;
		struct behind b = { 0 };
		struct shapes s = shapes_hold(&b);

		copy[bad[i].at] = bad[i].byte;
		assert_int_equal(vmstate_load(&shapes_vmstate, &s, 1, &in, copy, &err), bad[i].code);
		assert_string_equal(err.msg, bad[i].text);
		free(copy);
	}
}

static void what_cannot_be_sent_is_refused(void **state)
{
	struct buf out = { 0 };
	struct merr err = MERR_INIT;
	struct behind b;
	struct shapes s = shapes_fill(&b);

	(void)state;
	s.n = -1;
	assert_int_equal(vmstate_save(&shapes_vmstate, &s, &out, NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "field 'inlined': its count is negative");
	merr_clear(&err);
	s = shapes_fill(&b);
	s.to = NULL;
	assert_int_equal(vmstate_save(&shapes_vmstate, &s, &out, NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "field 'to': its pointer is NULL");
	merr_clear(&err);
	s = shapes_fill(&b);
	s.seconds = 60;
	assert_int_equal(vmstate_save(&shapes_vmstate, &s, &out, NULL, &err), -ERANGE);
	assert_string_equal(err.msg, "field 'tmp': pre_save of 'time' failed: 60 seconds");
	buf_done(&out);
}

static void runs_of_what_varies_have_indexes(void **state)
{
	struct vary one = { .n = 1 }, none = { .n = 0 };
	struct list l = { { &one, &none, NULL, NULL } };
	struct buf out = { 0 }, json = { 0 };

	(void)state;
	assert_int_equal(vmstate_save(&list_vmstate, &l, &out, &json, NULL), 0);
	assert_memory_equal(out.data, ((uint8_t[]){ 1, 0, 0, 0x30, 0x30 }), 5);
	buf_u8(&json, 0);
	assert_string_equal((char *)json.data,
		"\"vmsd_name\": \"list\", \"version\": 0, \"fields\": ["
		"{\"name\": \"items\", \"index\": 0, \"type\": \"struct\", \"struct\": {\"vmsd_name\": \"vary\", \"version\": 0, "
		"\"fields\": [{\"name\": \"n\", \"type\": \"uint8\", \"size\": 1}, {\"name\": \"data\", \"type\": \"uint8\", \"size\": 1}]}, "
		"\"size\": 2}, "
		"{\"name\": \"items\", \"index\": 1, \"type\": \"struct\", \"struct\": {\"vmsd_name\": \"vary\", \"version\": 0, "
		"\"fields\": [{\"name\": \"n\", \"type\": \"uint8\", \"size\": 1}]}, \"size\": 1}, "
		"{\"name\": \"items\", \"array_len\": 2, \"type\": \"nullptr\", \"size\": 1}]");
	buf_done(&out);
	buf_done(&json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_have_their_bytes_and_words),
		cmocka_unit_test(they_come_back_from_pieces_of_any_size),
		cmocka_unit_test(what_does_not_fit_is_refused_by_name),
		cmocka_unit_test(what_cannot_be_sent_is_refused),
		cmocka_unit_test(runs_of_what_varies_have_indexes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
