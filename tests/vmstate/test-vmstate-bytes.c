/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of every kind and flag, written by hand from WIRE.md 2.1 to 2.4, and that they come back. */
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

struct point {
	uint16_t x, y;
};

static const struct migd_vmstate point_vmstate = {
	.name = "point",
	.version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U16(struct point, x),
		MIGD_VMS_FIELD_U16(struct point, y),
		MIGD_VMS_FIELD_END,
	},
};

struct all {
	bool flag;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	int8_t s8;
	int16_t s16;
	int32_t s32;
	int64_t s64;
	uint8_t e8;
	uint16_t e16;
	uint32_t e32;
	uint64_t e64;
	uint8_t raw[3];
	uint16_t words[2];
	struct point p;
	struct point ps[2];
	uint8_t n8;
	uint16_t n16;
	uint32_t n32;
	uint8_t v8[4];
	uint16_t v16[4];
	struct point vp[4];
	uint32_t *pointed;
	struct point *nobody;
	uint32_t none;
};

#define VARRAY(m, K, n, c, F) \
	MIGD_VMS_ROW(#m, offsetof(struct all, m), sizeof(((struct all *)0)->m[0]), n, offsetof(struct all, c), K, F, 0, 0, \
		     NULL, NULL, NULL, 0)

static const struct migd_vmstate all_vmstate = {
	.name = "all",
	.version = 3,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_BOOL(struct all, flag),
		MIGD_VMS_FIELD_U8(struct all, u8),
		MIGD_VMS_FIELD_U16(struct all, u16),
		MIGD_VMS_FIELD_U32(struct all, u32),
		MIGD_VMS_FIELD_U64(struct all, u64),
		MIGD_VMS_FIELD_S8(struct all, s8),
		MIGD_VMS_FIELD_S16(struct all, s16),
		MIGD_VMS_FIELD_S32(struct all, s32),
		MIGD_VMS_FIELD_S64(struct all, s64),
		MIGD_VMS_FIELD_U8_EQUAL(struct all, e8),
		MIGD_VMS_FIELD_U16_EQUAL(struct all, e16),
		MIGD_VMS_FIELD_U32_EQUAL(struct all, e32),
		MIGD_VMS_FIELD_U64_EQUAL(struct all, e64),
		MIGD_VMS_FIELD_BUFFER(struct all, raw),
		MIGD_VMS_FIELD_UNUSED(2),
		MIGD_VMS_FIELD_U16_ARRAY(struct all, words, 2),
		MIGD_VMS_FIELD_STRUCT(struct all, p, struct point, &point_vmstate),
		MIGD_VMS_FIELD_STRUCT_ARRAY(struct all, ps, struct point, 2, &point_vmstate),
		MIGD_VMS_FIELD_U8(struct all, n8),
		MIGD_VMS_FIELD_U16(struct all, n16),
		MIGD_VMS_FIELD_U32(struct all, n32),
		VARRAY(v8, MIGD_VMS_U8, 4, n8, MIGD_VMS_VARRAY_U8),
		VARRAY(v16, MIGD_VMS_U16, 4, n16, MIGD_VMS_VARRAY_U16),
		MIGD_VMS_FIELD_STRUCT_VARRAY(struct all, vp, struct point, 4, n32, &point_vmstate),
		MIGD_VMS_ROW("pointed", offsetof(struct all, pointed), 4, 2, 0, MIGD_VMS_U32,
			     MIGD_VMS_POINTER, 0, 0, NULL, NULL, NULL, 0),
		MIGD_VMS_ROW("nobody", offsetof(struct all, nobody), sizeof(struct point), 4,
			     offsetof(struct all, none), MIGD_VMS_STRUCT, MIGD_VMS_POINTER | MIGD_VMS_VARRAY_U32, 0, 0, &point_vmstate, NULL, NULL, 0),
		MIGD_VMS_FIELD_END,
	},
};

static const uint8_t all_bytes[] = {
	0x01,				/* flag */
	0x12,				/* u8 */
	0x12, 0x34,			/* u16, big-endian */
	0x12, 0x34, 0x56, 0x78,
	0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0,
	0xff,				/* -1 */
	0xff, 0xfe,			/* -2 */
	0xff, 0xff, 0xff, 0xfd,		/* -3 */
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc,
	0x08, 0x00, 0x10, 0x00, 0x00, 0x00, 0x20, 0, 0, 0, 0, 0, 0, 0, 0x40,	/* equal */
	'a', 'b', 'c',			/* raw */
	0x00, 0x00,			/* unused */
	0x00, 0x01, 0x00, 0x02,		/* words: no count */
	0x00, 0x03, 0x00, 0x04,		/* p: nested, no version */
	0x00, 0x05, 0x00, 0x06, 0x00, 0x07, 0x00, 0x08,	/* ps */
	0x02, 0x00, 0x01, 0x00, 0x00, 0x00, 0x03,	/* counts */
	0x21, 0x22,
	0x23, 0x24,
	0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14,
	0xca, 0xfe, 0xba, 0xbe, 0xde, 0xad, 0xbe, 0xef,	/* behind the pointer */
};

static void fill(struct all *a, uint32_t *pointed)
{
	*a = (struct all){
		.flag = true, .u8 = 0x12, .u16 = 0x1234, .u32 = 0x12345678, .u64 = 0x123456789abcdef0,
		.s8 = -1, .s16 = -2, .s32 = -3, .s64 = -4, .e8 = 8, .e16 = 16, .e32 = 32, .e64 = 64,
		.raw = { 'a', 'b', 'c' }, .words = { 1, 2 }, .p = { 3, 4 }, .ps = { { 5, 6 }, { 7, 8 } },
		.n8 = 2, .n16 = 1, .n32 = 3, .v8 = { 0x21, 0x22 }, .v16 = { 0x2324 },
		.vp = { { 9, 10 }, { 11, 12 }, { 13, 14 } }, .pointed = pointed,
	};
}

static void every_kind_has_its_bytes(void **state)
{
	uint32_t pointed[2] = { 0xcafebabe, 0xdeadbeef };
	struct merr err = MERR_INIT;
	struct buf out = { 0 };
	struct all a;

	(void)state;
	assert_int_equal(vmstate_check(&all_vmstate, &err), 0);
	fill(&a, pointed);
	assert_int_equal(vmstate_save(&all_vmstate, &a, &out, NULL, &err), 0);
	assert_int_equal(out.len, sizeof(all_bytes));
	assert_memory_equal(out.data, all_bytes, sizeof(all_bytes));
	buf_done(&out);
}

static void every_kind_comes_back(void **state)
{
	uint32_t pointed[2] = { 0 };
	struct rcur in = rcur_of(all_bytes, sizeof(all_bytes));
	struct merr err = MERR_INIT;
	struct all a = { .e8 = 8, .e16 = 16, .e32 = 32, .e64 = 64, .pointed = pointed }, want;

	(void)state;
	assert_int_equal(vmstate_load(&all_vmstate, &a, 3, &in, all_bytes, &err), 0);
	assert_int_equal(in.left, 0);
	assert_int_equal(pointed[0], 0xcafebabe);
	assert_int_equal(pointed[1], 0xdeadbeef);
	fill(&want, pointed);
	assert_true(a.flag && a.u8 == want.u8 && a.u16 == want.u16 && a.u32 == want.u32 && a.u64 == want.u64);
	assert_true(a.s8 == -1 && a.s16 == -2 && a.s32 == -3 && a.s64 == -4);
	assert_memory_equal(a.raw, want.raw, sizeof(a.raw));
	assert_memory_equal(a.words, want.words, sizeof(a.words));
	assert_memory_equal(&a.p, &want.p, sizeof(a.p));
	assert_memory_equal(a.ps, want.ps, sizeof(a.ps));
	assert_memory_equal(a.v8, want.v8, sizeof(a.v8));
	assert_memory_equal(a.v16, want.v16, sizeof(a.v16));
	assert_memory_equal(a.vp, want.vp, sizeof(a.vp));
}

static const struct migd_vmstate bool_vmstate = {
	.name = "b",
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_BOOL(struct all, flag), MIGD_VMS_FIELD_END },
};

static void any_nonzero_byte_is_true(void **state)
{
	const uint8_t byte = 0x80;
	struct rcur in = rcur_of(&byte, 1);
	struct all a = { 0 };

	(void)state;
	assert_int_equal(vmstate_load(&bool_vmstate, &a, 0, &in, &byte, NULL), 0);
	assert_true(a.flag);
	assert_int_equal(*(uint8_t *)&a.flag, 1);
}

/* Versions and presence (WIRE.md 2.2) */

struct versions {
	uint8_t always, since2, tested;
	bool test_says;
};

static bool tested_exists(void *opaque, uint32_t version)
{
	(void)version;
	return ((struct versions *)opaque)->test_says;
}

static const struct migd_vmstate versions_vmstate = {
	.name = "versions",
	.version = 2,
	.minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct versions, always),
		MIGD_VMS_FIELD_SINCE(U8, struct versions, since2, 2),
		MIGD_VMS_ROW("tested", offsetof(struct versions, tested), 1, 1, 0, MIGD_VMS_U8, 0, 2, 0, NULL,
			     tested_exists, NULL, 0),
		MIGD_VMS_FIELD_END,
	},
};

static void a_field_is_there_from_its_version_on(void **state)
{
	const uint8_t v1[] = { 1 }, v2[] = { 1, 2 };
	struct versions a = { .since2 = 99 };
	struct rcur in = rcur_of(v1, sizeof(v1));

	(void)state;
	assert_int_equal(vmstate_load(&versions_vmstate, &a, 1, &in, v1, NULL), 0);
	assert_int_equal(a.since2, 99);
	in = rcur_of(v2, sizeof(v2));
	assert_int_equal(vmstate_load(&versions_vmstate, &a, 2, &in, v2, NULL), 0);
	assert_int_equal(a.since2, 2);
}

static void a_presence_test_decides_alone(void **state)
{
	const uint8_t v1[] = { 1, 3 };
	struct versions a = { .test_says = true };
	struct rcur in = rcur_of(v1, sizeof(v1));
	struct buf out = { 0 };

	(void)state;
	/* Version 1, where the row says "from 2": the test overrules. */
	assert_int_equal(vmstate_load(&versions_vmstate, &a, 1, &in, v1, NULL), 0);
	assert_int_equal(a.tested, 3);
	a.test_says = false;
	assert_int_equal(vmstate_save(&versions_vmstate, &a, &out, NULL, NULL), 0);
	assert_int_equal(out.len, 2);
	buf_done(&out);
}

/* Subsections and hooks (WIRE.md 2.3, 2.4) */

struct dev {
	uint8_t a, b, c;
	bool want_x, want_y;
	char calls[256];
	int fail_pre_save;
};

static void called(void *opaque, const char *what)
{
	struct dev *d = opaque;

	assert_true(strlen(d->calls) + strlen(what) + 2 < sizeof(d->calls));
	strcat(d->calls, what);
	strcat(d->calls, " ");
}

#define HOOKS(p)                                                                                       \
	static int p##_pre_save(void *o, struct migd_vmstate_error *e) { (void)e; called(o, #p ".pre_save"); return ((struct dev *)o)->fail_pre_save; } \
	static int p##_post_save(void *o, struct migd_vmstate_error *e) { (void)e; called(o, #p ".post_save"); return 0; } \
	static int p##_pre_load(void *o, struct migd_vmstate_error *e) { (void)e; called(o, #p ".pre_load"); return 0; } \
	static int p##_post_load(void *o, uint32_t v, struct migd_vmstate_error *e) { (void)v; (void)e; called(o, #p ".post_load"); return 0; }
HOOKS(dev)
HOOKS(x)

static bool x_needed(void *o)
{
	called(o, "x.needed");
	return ((struct dev *)o)->want_x;
}

static bool y_needed(void *o)
{
	return ((struct dev *)o)->want_y;
}

static const struct migd_vmstate y_vmstate = {
	.name = "dev/x/y", .version = 7, .minimum_version = 7,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct dev, c), MIGD_VMS_FIELD_END },
	.needed = y_needed,
};

static const struct migd_vmstate x_vmstate = {
	.name = "dev/x", .version = 1, .minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct dev, b), MIGD_VMS_FIELD_END },
	.subsections = (const struct migd_vmstate *const[]){ &y_vmstate, NULL },
	.needed = x_needed, .pre_save = x_pre_save, .post_save = x_post_save, .pre_load = x_pre_load,
	.post_load = x_post_load,
};

static const struct migd_vmstate dev_vmstate = {
	.name = "dev", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct dev, a), MIGD_VMS_FIELD_END },
	.subsections = (const struct migd_vmstate *const[]){ &x_vmstate, NULL },
	.pre_save = dev_pre_save, .post_save = dev_post_save, .pre_load = dev_pre_load,
	.post_load = dev_post_load,
};

static const uint8_t dev_bytes[] = {
	0x0a,
	0x05, 5, 'd', 'e', 'v', '/', 'x', 0, 0, 0, 1, 0x0b,
	0x05, 7, 'd', 'e', 'v', '/', 'x', '/', 'y', 0, 0, 0, 7, 0x0c,
};

static void subsections_follow_the_fields(void **state)
{
	struct dev d = { .a = 10, .b = 11, .c = 12, .want_x = true, .want_y = true }, e = { 0 };
	struct buf out = { 0 };
	struct rcur in;

	(void)state;
	assert_int_equal(vmstate_check(&dev_vmstate, NULL), 0);
	assert_int_equal(vmstate_save(&dev_vmstate, &d, &out, NULL, NULL), 0);
	assert_int_equal(out.len, sizeof(dev_bytes));
	assert_memory_equal(out.data, dev_bytes, sizeof(dev_bytes));
	assert_string_equal(d.calls, "dev.pre_save x.needed x.pre_save x.post_save dev.post_save ");
	in = rcur_of(dev_bytes, sizeof(dev_bytes));
	assert_int_equal(vmstate_load(&dev_vmstate, &e, 1, &in, dev_bytes, NULL), 0);
	assert_true(e.a == 10 && e.b == 11 && e.c == 12 && in.left == 0);
	assert_string_equal(e.calls, "dev.pre_load x.pre_load x.post_load dev.post_load ");
	buf_done(&out);
}

static void what_is_not_needed_is_not_sent(void **state)
{
	struct dev d = { .a = 10 }, e = { .b = 77 };
	struct buf out = { 0 };
	struct rcur in;

	(void)state;
	assert_int_equal(vmstate_save(&dev_vmstate, &d, &out, NULL, NULL), 0);
	assert_int_equal(out.len, 1);
	in = rcur_of(out.data, out.len);
	assert_int_equal(vmstate_load(&dev_vmstate, &e, 1, &in, out.data, NULL), 0);
	assert_int_equal(e.b, 77);
	buf_done(&out);
}

/* A 0x05 that is not a subsection of ours stays for whoever reads on. */
static void a_marker_of_somebody_else_is_left_alone(void **state)
{
	static const uint8_t others[][8] = {
		{ 1, 0x05, 3, 'd', 'e', 'v', 0, 0 },	/* not longer than the parent's name */
		{ 1, 0x05, 4, 'b', 'u', 's', '/', 0 },
		{ 1, 0x05, 200, 'd', 'e', 'v', '/', 0 },	/* longer than what is left */
		{ 1, 0x06, 5, 'd', 'e', 'v', '/', 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct rcur in = rcur_of(others[i], 8);
		struct dev d = { 0 };

		assert_int_equal(vmstate_load(&dev_vmstate, &d, 1, &in, others[i], NULL), 0);
		assert_int_equal(in.left, 7);
		assert_false(in.bad);
	}
}

static void post_save_runs_unless_pre_save_failed(void **state)
{
	struct dev d = { .fail_pre_save = -EBUSY };
	struct merr err = MERR_INIT;
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(vmstate_save(&dev_vmstate, &d, &out, NULL, &err), -EBUSY);
	assert_string_equal(d.calls, "dev.pre_save ");
	assert_string_equal(err.msg, "pre_save of 'dev' failed: Device or resource busy");
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_has_its_bytes),
		cmocka_unit_test(every_kind_comes_back),
		cmocka_unit_test(any_nonzero_byte_is_true),
		cmocka_unit_test(a_field_is_there_from_its_version_on),
		cmocka_unit_test(a_presence_test_decides_alone),
		cmocka_unit_test(subsections_follow_the_fields),
		cmocka_unit_test(what_is_not_needed_is_not_sent),
		cmocka_unit_test(a_marker_of_somebody_else_is_left_alone),
		cmocka_unit_test(post_save_runs_unless_pre_save_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
