/* SPDX-License-Identifier: Apache-2.0 */
/* Structs and descriptions with every shape of field, filled with known values. */
#include "tests/vmstate/shapes.h"

#include <errno.h>
#include <string.h>

static const struct migd_vmstate point_vmstate = {
	.name = "point", .version = 2, .minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U16(struct point, x), MIGD_VMS_FIELD_SINCE(U16, struct point, y, 2), MIGD_VMS_FIELD_END },
};

struct time_tmp {
	struct shapes *parent;
	uint16_t seconds;
};

static int time_pre_save(void *opaque, struct migd_vmstate_error *err)
{
	struct time_tmp *t = opaque;

	t->seconds = (uint16_t)(t->parent->minutes * 60 + t->parent->seconds);
	return t->parent->seconds < 60 ? 0 : migd_vmstate_fail(err, -ERANGE, "%u seconds", t->parent->seconds);
}

static int time_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	struct time_tmp *t = opaque;

	(void)version;
	t->parent->minutes = t->seconds / 60;
	t->parent->seconds = t->seconds % 60;
	return t->seconds < 3600 ? 0 : migd_vmstate_fail(err, -ERANGE, "%u seconds are more than an hour", t->seconds);
}

static const struct migd_vmstate time_vmstate = {
	.name = "time", .version = 1, .pre_save = time_pre_save, .post_load = time_post_load,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U16(struct time_tmp, seconds), MIGD_VMS_FIELD_END },
};

const struct migd_vmstate shapes_vmstate = {
	.name = "shapes", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD(S32_EQUAL, struct shapes, same),
		MIGD_VMS_FIELD(S32_LE, struct shapes, at_most),
		MIGD_VMS_FIELD(DOUBLE, struct shapes, d),
		MIGD_VMS_FIELD(TIMER, struct shapes, timer),
		MIGD_VMS_FIELD_S32(struct shapes, n),
		MIGD_VMS_FIELD_U8(struct shapes, n8),
		MIGD_VMS_FIELD_VARRAY_TIMES(U16, struct shapes, pairs, 6, U8, n8, 2),
		MIGD_VMS_FIELD_VBUFFER(struct shapes, inlined, S32, n),
		MIGD_VMS_FIELD_PTR_VBUFFER_TIMES(struct shapes, blob, 9, U8, n8, 3),
		MIGD_VMS_FIELD_BITMAP(struct shapes, bits, 70),
		MIGD_VMS_FIELD_U16(struct shapes, n_bits),
		MIGD_VMS_FIELD_PTR_BITMAP(struct shapes, more_bits, 128, U16, n_bits),
		MIGD_VMS_FIELD_STRUCT_PTR(struct shapes, to, struct point, &point_vmstate),
		MIGD_VMS_FIELD_STRUCT_NULLABLE(struct shapes, maybe, struct point, &point_vmstate),
		MIGD_VMS_FIELD_STRUCT_NULLABLE(struct shapes, never, struct point, &point_vmstate),
		MIGD_VMS_FIELD_STRUCT_PTRS(struct shapes, some, struct point, 5, &point_vmstate),
		MIGD_VMS_FIELD_PTRS(U8, struct shapes, numbers, 2),
		MIGD_VMS_FIELD_VSTRUCT(struct shapes, old, struct point, &point_vmstate, 1),
		MIGD_VMS_FIELD_TMP(struct shapes, struct time_tmp, &time_vmstate),
		MIGD_VMS_FIELD_BUFFER_PART(struct shapes, name, 2, 3),
		MIGD_VMS_FIELD_END },
};

struct shapes shapes_hold(struct behind *b)
{
	return (struct shapes){
		.same = -2, .at_most = 9, .blob = b->blob, .more_bits = b->more_bits, .to = &b->to, .maybe = &b->maybe,
		.some = { [2] = &b->some[0], [3] = &b->some[1] }, .numbers = { &b->number },
		.name = "........", .old = { 0, 99 },
	};
}

struct shapes shapes_fill(struct behind *b)
{
	struct shapes s;

	*b = (struct behind){ .blob = "blobby", .more_bits = { 0xfd }, .to = { 11, 12 }, .maybe = { 13, 14 },
			      .some = { { 15, 16 }, { 17, 18 } }, .number = 0x77 };
	s = shapes_hold(b);
	s.at_most = 5;
	s.d = 1.5;
	s.timer = MIGD_VMS_TIMER_OFF;
	s.n = s.n8 = 2;
	memcpy(s.pairs, (uint16_t[]){ 1, 2, 3, 4 }, 8);
	memcpy(s.inlined, "in", 2);
	s.bits[0] = 1ULL << 63 | 1;
	s.bits[1] = UINT64_MAX << 6 | 0x21;	/* bits 70 and up are nobody's */
	s.n_bits = 3;
	s.old.x = 19;
	s.seconds = 5;
	s.minutes = 2;
	memcpy(s.name, "..me!..", 7);
	return s;
}

static const struct migd_vmstate vary_vmstate = {
	.name = "vary", .fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct vary, n), MIGD_VMS_FIELD_VARRAY(U8, struct vary, data, 2, U8, n), MIGD_VMS_FIELD_END },
};
const struct migd_vmstate list_vmstate = {
	.name = "list", .fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_STRUCT_PTRS(struct list, items, struct vary, 4, &vary_vmstate), MIGD_VMS_FIELD_END },
};
