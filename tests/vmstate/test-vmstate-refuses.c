/* SPDX-License-Identifier: Apache-2.0 */
/* What loading and saving refuse, and that each text says where and why; and what vmstate_check() refuses. */
/* LIBS: migd_guest migd_base */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "guest/vmstate.h"

struct in {
	uint16_t a, b;
};

struct dev {
	uint32_t id;
	uint32_t n;
	struct in items[4];
	uint8_t mode;
	uint8_t *data;
	int post_load_says;
};

static bool mode_valid(void *opaque, uint32_t version)
{
	(void)version;
	return ((struct dev *)opaque)->mode < 3;
}

static int dev_pre_load(void *opaque, struct migd_vmstate_error *err)
{
	(void)err;
	return ((struct dev *)opaque)->post_load_says == -EALREADY ? -EALREADY : 0;
}

static int dev_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	(void)err;
	(void)version;
	return ((struct dev *)opaque)->post_load_says;
}

static const struct migd_vmstate in_vmstate = {
	.name = "in", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U16(struct in, a), MIGD_VMS_FIELD_U16(struct in, b), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate sub_vmstate = {
	.name = "dev/sub", .version = 2, .minimum_version = 2,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct dev, mode), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate dev_vmstate = {
	.name = "dev", .version = 5, .minimum_version = 2,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U32_EQUAL(struct dev, id),
		MIGD_VMS_FIELD_U32(struct dev, n),
		MIGD_VMS_FIELD_STRUCT_VARRAY(struct dev, items, struct in, 4, n, &in_vmstate),
		MIGD_VMS_FIELD_U8(struct dev, mode),
		MIGD_VMS_ROW("mode is valid", 0, 0, 0, 0, MIGD_VMS_U8, MIGD_VMS_MUST_EXIST, 0, 0, NULL,
			     mode_valid, NULL, 0),
		MIGD_VMS_FIELD_END },
	.subsections = (const struct migd_vmstate *const[]){ &sub_vmstate, NULL },
	.pre_load = dev_pre_load,
	.post_load = dev_post_load,
};

#define GOOD 0, 0, 0, 7, 0, 0, 0, 2, 0, 1, 0, 2, 0, 3, 0, 4, 1
#define SUB(v) 0x05, 7, 'd', 'e', 'v', '/', 's', 'u', 'b', 0, 0, 0, v

static const struct {
	uint32_t version;
	uint8_t bytes[64];
	size_t len;
	int post_load_says;
	int code;
	const char *text;
} bad_loads[] = {
	{ 6, { GOOD }, 17, 0, -EINVAL,
	  "offset 0: 'dev' has version 6 at the source, this side knows up to 5: "
	  "the target must be at least as new as the source" },
	{ 1, { GOOD }, 17, 0, -EINVAL, "offset 0: 'dev' has version 1 at the source, this side needs at least 2" },
	{ 5, { GOOD }, 2, 0, -EPROTO, "offset 0: field 'id': the data ends here: 4 bytes are needed, 2 are left" },
	{ 5, { GOOD }, 13, 0, -EPROTO,
	  "offset 12: field 'items[1].a': the data ends here: 2 bytes are needed, 1 are left" },
	{ 5, { 0, 0, 0, 8 }, 17, 0, -EINVAL,
	  "offset 0: field 'id': must be equal on both sides, but is 8 at the source and 7 here" },
	{ 5, { 0, 0, 0, 7, 0, 0, 0, 5 }, 17, 0, -EPROTO,
	  "offset 8: field 'items': its count is over the description's bound" },
	{ 5, { 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff }, 17, 0, -EPROTO,
	  "offset 8: field 'items': its count is over the description's bound" },
	{ 5, { 0, 0, 0, 7, 0, 0, 0, 0, 3 }, 9, 0, -EINVAL,
	  "offset 9: field 'mode is valid': the values before it are not valid together" },
	{ 5, { GOOD, 0x05, 5, 'd', 'e', 'v', '/', 'x', 0, 0, 0, 1 }, 28, 0, -EINVAL,
	  "offset 17: subsection 'dev/x' is not known here: the target is older" },
	{ 5, { GOOD, 0x05, 5, 'd', 'e', 'v', '/', 0x01, 0, 0, 0, 1 }, 28, 0, -EINVAL,
	  "offset 17: subsection 'dev/?' is not known here: the target is older" },
	{ 5, { GOOD, SUB(2), 1, SUB(2), 1 }, 45, 0, -EPROTO, "offset 31: subsection 'dev/sub' comes twice" },
	{ 5, { GOOD, SUB(2) }, 28, 0, -EPROTO,
	  "offset 17: field 'dev/sub': the data ends in a subsection's header" },
	{ 5, { GOOD, SUB(2) }, 30, 0, -EPROTO,
	  "offset 30: field 'dev/sub.mode': the data ends here: 1 bytes are needed, 0 are left" },
	{ 5, { GOOD, SUB(3), 1 }, 31, 0, -EINVAL,
	  "offset 30: field 'dev/sub': 'dev/sub' has version 3 at the source, this side knows up to 2: "
	  "the target must be at least as new as the source" },
	{ 5, { GOOD }, 17, -ERANGE, -ERANGE,
	  "offset 17: post_load of 'dev' refused what it got: Numerical result out of range" },
	{ 5, { GOOD }, 17, -EALREADY, -EALREADY, "offset 0: pre_load of 'dev' failed: Operation already in progress" },
};

static void a_load_that_fails_says_where_and_why(void **state)
{
	(void)state;
	assert_int_equal(vmstate_check(&dev_vmstate, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_loads); i++) {
		struct rcur in = rcur_of(bad_loads[i].bytes, bad_loads[i].len);
		struct dev d = { .id = 7, .post_load_says = bad_loads[i].post_load_says };
		struct merr err = MERR_INIT;
		int r = vmstate_load(&dev_vmstate, &d, bad_loads[i].version, &in, bad_loads[i].bytes, &err);

		assert_string_equal(err.msg, bad_loads[i].text);
		assert_int_equal(r, bad_loads[i].code);
	}
}

/* Each prefix of good bytes fails, none is read beyond (the sanitizers' build sees it). */
static void no_prefix_is_taken_for_the_whole(void **state)
{
	static const uint8_t good[] = { GOOD, SUB(2), 1 };

	(void)state;
	for (size_t len = 0; len <= sizeof(good); len++) {
		uint8_t *copy = memcpy(malloc(len + 1), good, len);
		struct rcur in = rcur_of(copy, len);
		struct dev d = { .id = 7 };
		int r = vmstate_load(&dev_vmstate, &d, 5, &in, copy, NULL);

		/* 17 bytes are whole without the subsection, and 18 to 25 hold no whole name: left for others. */
		if (len == sizeof(good) || (len >= 17 && len < 26))
			assert_int_equal(r, 0);
		else
			assert_int_equal(r, -EPROTO);
		free(copy);
	}
}

static const struct migd_vmstate pointer_vmstate = {
	.name = "pointer", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_ROW("data", offsetof(struct dev, data), 1, 4, offsetof(struct dev, n), MIGD_VMS_U8,
			     MIGD_VMS_VARRAY_U32 | MIGD_VMS_POINTER, 0, 0, NULL, NULL, NULL, 0),
		MIGD_VMS_FIELD_END },
};

static void a_save_of_invalid_state_fails(void **state)
{
	struct merr err = MERR_INIT;
	struct dev d = { .n = 5 };
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(vmstate_save(&dev_vmstate, &d, &out, NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "field 'items': its count is over the description's bound");
	merr_clear(&err);
	d = (struct dev){ .mode = 3 };
	assert_int_equal(vmstate_save(&dev_vmstate, &d, &out, NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "field 'mode is valid': the device's state is not valid");
	merr_clear(&err);
	d = (struct dev){ .n = 1 };
	assert_int_equal(vmstate_save(&pointer_vmstate, &d, &out, NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "field 'data': its pointer is NULL");
	merr_clear(&err);
	out.max = out.len;
	d = (struct dev){ .n = 1 };
	assert_int_equal(vmstate_save(&dev_vmstate, &d, &out, NULL, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "the saved state does not fit into memory"));
	buf_done(&out);
}

/* Tables */

#define FIELD(name, off, size, n, count_off, kind, flags, v, d, test) \
	(const struct migd_vmstate_field[]){ MIGD_VMS_ROW(name, off, size, n, count_off, kind, flags, v, 0, d, test, NULL, 0), \
					     MIGD_VMS_FIELD_END }
#define U8_FIELD(n) MIGD_VMS_ROW(n, 0, 1, 1, 0, MIGD_VMS_U8, 0, 0, 0, NULL, NULL, NULL, 0)
static const struct migd_vmstate_field one_field[] = { U8_FIELD("a"), MIGD_VMS_FIELD_END };
static const struct migd_vmstate unrelated = { .name = "else/sub", .fields = one_field };
static const struct migd_vmstate no_child = { .name = "d/", .fields = one_field };
static const struct migd_vmstate sub1 = { .name = "d/fifo", .fields = one_field };
static const struct migd_vmstate sub2 = { .name = "d/fifo2", .fields = one_field };
static const struct migd_vmstate nested_d = { .name = "d", .fields = one_field };
static const struct migd_vmstate nested_bad = { .name = "n", .fields = FIELD("z", 0, 0, 1, 0, MIGD_VMS_U8, 0, 0, NULL, NULL) };
static const struct migd_vmstate loop;
static const struct migd_vmstate loop = {
	.name = "loop", .fields = FIELD("next", 0, 8, 1, 0, MIGD_VMS_STRUCT, MIGD_VMS_POINTER, 0, &loop, NULL),
};

static bool yes(void *opaque, uint32_t version)
{
	(void)opaque;
	return version > 0;
}

static const struct {
	struct migd_vmstate d;
	const char *text;
} bad_tables[] = {
	{ { .fields = one_field }, "a description has no name" },
	{ { .name = "", .fields = one_field }, "a description has no name" },
	{ { .name = "a\tb", .fields = one_field }, "a description name is not printable ASCII" },
	{ { .name = "d", .version = 1, .minimum_version = 2, .fields = one_field },
	  "description 'd': minimum_version 2 is over version 1" },
	{ { .name = "d" }, "description 'd': it has no table of fields" },
	{ { .name = "d", .fields = FIELD("", 0, 1, 1, 0, MIGD_VMS_U8, 0, 0, NULL, NULL) },
	  "description 'd': a field has no name" },
	{ { .name = "d", .fields = FIELD("f", 0, 0, 1, 0, MIGD_VMS_BUFFER, 0, 0, NULL, NULL) },
	  "description 'd': field 'f': its size is 0" },
	{ { .name = "d", .fields = FIELD("f", 0, 4, 1, 0, MIGD_VMS_U8, 0, 0, NULL, NULL) },
	  "description 'd': field 'f': its size is not its kind's" },
	{ { .name = "d", .fields = FIELD("f", 0, 1, 1, 0, 999, 0, 0, NULL, NULL) },
	  "description 'd': field 'f': its kind is not known here" },
	{ { .name = "d", .fields = FIELD("f", 0, 1, 1, 0, MIGD_VMS_U8, 1 << 20, 0, NULL, NULL) },
	  "description 'd': field 'f': it has flags that are not known here" },
	{ { .name = "d", .fields = FIELD("f", 0, 8, 1, 0, MIGD_VMS_STRUCT, 0, 0, NULL, NULL) },
	  "description 'd': field 'f': a struct without a description (vmsd)" },
	{ { .name = "d", .fields = FIELD("f", 0, 1, 1, 0, MIGD_VMS_U8, 0, 0, &nested_d, NULL) },
	  "description 'd': field 'f': a description (vmsd) but not of kind STRUCT" },
	{ { .name = "d", .fields = FIELD("f", 0, 1, 0, 0, MIGD_VMS_U8, 0, 0, NULL, NULL) },
	  "description 'd': field 'f': it has no elements" },
	{ { .name = "d", .fields = FIELD("f", 0, 1, 0, 0, MIGD_VMS_U8, MIGD_VMS_VARRAY_U8, 0, NULL, NULL) },
	  "description 'd': field 'f': its count has no bound" },
	{ { .name = "d", .fields = FIELD("f", 0, 1, 1, 0, MIGD_VMS_U8, MIGD_VMS_VARRAY_U8 | MIGD_VMS_VARRAY_U16, 0, NULL, NULL) },
	  "description 'd': field 'f': it has more than one kind of count" },
	{ { .name = "d", .fields = FIELD("f", 0, SIZE_MAX / 2, 3, 0, MIGD_VMS_BUFFER, 0, 0, NULL, NULL) },
	  "description 'd': field 'f': it is larger than memory" },
	{ { .name = "d", .fields = FIELD("f", 0, 4, 1, 0, MIGD_VMS_UNUSED, MIGD_VMS_POINTER, 0, NULL, NULL) },
	  "description 'd': field 'f': unused bytes have no count in memory and no pointer" },
	{ { .name = "d", .fields = FIELD("f", 0, 0, 0, 0, MIGD_VMS_U8, MIGD_VMS_MUST_EXIST, 0, NULL, NULL) },
	  "description 'd': field 'f': MUST_EXIST without exists()" },
	{ { .name = "d", .version = 1, .fields = FIELD("f", 0, 1, 1, 0, MIGD_VMS_U8, 0, 2, NULL, NULL) },
	  "description 'd': field 'f': its version is later than the description's" },
	{ { .name = "d", .fields = FIELD("f", 0, 1, 1, 0, MIGD_VMS_STRUCT, 0, 0, &nested_bad, NULL) },
	  "description 'd': field 'f': description 'n': field 'z': its size is 0" },
	{ { .name = "d", .fields = one_field, .subsections = (const struct migd_vmstate *const[]){ &unrelated, NULL } },
	  "description 'd': subsection 'else/sub': its name does not begin with 'd/'" },
	{ { .name = "d", .fields = one_field, .subsections = (const struct migd_vmstate *const[]){ &no_child, NULL } },
	  "description 'd': subsection 'd/': its name does not begin with 'd/'" },
	{ { .name = "d", .fields = one_field, .subsections = (const struct migd_vmstate *const[]){ &sub1, &sub2, NULL } },
	  "description 'd': subsections 'd/fifo' and 'd/fifo2': one name begins with the other" },
	{ { .name = "d", .fields = FIELD("f", 0, 1, 1, 0, MIGD_VMS_STRUCT, 0, 0, &nested_d, NULL),
	    .subsections = (const struct migd_vmstate *const[]){ &sub1, NULL } },
	  "description 'd': field 'f': subsection 'd/fifo' would be taken for one of the nested 'd'" },
};

static void a_bad_table_is_refused_by_name(void **state)
{
	struct migd_vmstate good = { .name = "d", .version = 1 };
	struct merr err = MERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_tables); i++) {
		merr_clear(&err);
		assert_int_equal(vmstate_check(&bad_tables[i].d, &err), -EINVAL);
		assert_string_equal(err.msg, bad_tables[i].text);
	}
	merr_clear(&err);
	assert_int_equal(vmstate_check(NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "there is no description");
	merr_clear(&err);
	assert_int_equal(vmstate_check(&loop, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "descriptions are nested deeper than 16: does 'loop' hold itself?"));
	good.fields = FIELD("ok", 0, 0, 0, 0, MIGD_VMS_U8, MIGD_VMS_MUST_EXIST, 0, NULL, yes);
	assert_int_equal(vmstate_check(&good, NULL), 0);
}

static void a_long_name_is_refused(void **state)
{
	char name[VMSTATE_NAME_MAX + 2];
	struct migd_vmstate d = { .name = name, .fields = one_field };

	(void)state;
	memset(name, 'n', sizeof(name));
	name[VMSTATE_NAME_MAX] = '\0';
	assert_int_equal(vmstate_check(&d, NULL), 0);
	name[VMSTATE_NAME_MAX] = 'n';
	name[VMSTATE_NAME_MAX + 1] = '\0';
	assert_int_equal(vmstate_check(&d, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_load_that_fails_says_where_and_why),
		cmocka_unit_test(no_prefix_is_taken_for_the_whole),
		cmocka_unit_test(a_save_of_invalid_state_fails),
		cmocka_unit_test(a_bad_table_is_refused_by_name),
		cmocka_unit_test(a_long_name_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
