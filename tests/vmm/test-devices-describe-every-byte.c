/* SPDX-License-Identifier: Apache-2.0 */
/* Every byte of each device's struct is described or listed as derived; what is described survives a move, the rest stays. */
/* LIBS: migd_vmm_core migd_guest */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "guest/vmstate.h"
#include "vmm/devices.h"

enum { UNKNOWN = 0, DESCRIBED, EQUAL, DERIVED };

struct map {
	const char *device;
	uint8_t *kind;		/* one a byte of the struct */
	size_t size;
	unsigned int n_values;	/* made so far */
};

static void mark(struct map *map, size_t offset, size_t len, uint8_t kind, const char *what)
{
	if (offset + len > map->size)
		fail_msg("%s: '%s' reaches behind the struct", map->device, what);
	for (size_t i = offset; i < offset + len; i++) {
		if (map->kind[i] != UNKNOWN)
			fail_msg("%s: byte %zu is listed twice, now by '%s'", map->device, i, what);
		map->kind[i] = kind;
	}
}

static bool is_equal_kind(uint32_t kind)
{
	return kind >= MIGD_VMS_U8_EQUAL && kind <= MIGD_VMS_U64_EQUAL;
}

/* Marks what D describes at BASE and gives each element a small power of two, which no device's checks refuse. */
static void walk(struct map *map, const struct migd_vmstate *d, size_t base, uint8_t *fill)
{
	for (const struct migd_vmstate_field *f = d->fields; f->kind != MIGD_VMS_END; f++) {
		if (f->kind == MIGD_VMS_UNUSED)
			continue;
		assert_false(f->flags & MIGD_VMS_POINTER);	/* no device has one: walk here if one will */
		for (size_t n = 0; n < f->count; n++) {
			size_t at = base + f->offset + n * f->size;
			if (f->kind == MIGD_VMS_STRUCT) {
				walk(map, f->vmsd, at, fill);
				continue;
			}
			mark(map, at, f->size, is_equal_kind(f->kind) ? EQUAL : DESCRIBED, f->name);
			fill[at] = f->kind == MIGD_VMS_BOOL ? 1 : (uint8_t)(1 << map->n_values++ % 4);
		}
	}
	assert_null(d->subsections);
}

static void map_device(const struct device_type *type, struct map *map, uint8_t *fill)
{
	if (type->state)
		walk(map, type->state, 0, fill);
	for (const struct device_derived *r = type->derived; r->len; r++) {
		assert_true(r->why && *r->why);
		mark(map, r->offset, r->len, DERIVED, r->why);
	}
}

static struct map map_new(const struct device_type *type, uint8_t **ret_fill)
{
	struct map map = { .device = type->name, .size = type->state_size };
	map.kind = calloc(1, map.size);
	*ret_fill = calloc(1, map.size);
	assert_non_null(map.kind);
	assert_non_null(*ret_fill);
	map_device(type, &map, *ret_fill);
	return map;
}

static void test_every_byte_is_accounted_for(void **state)
{
	(void)state;
	for (const struct device_type *const *t = device_types; *t; t++) {
		if (!(*t)->state_size) {
			assert_null((*t)->state);
			continue;
		}
		uint8_t *fill;
		struct map map = map_new(*t, &fill);
		for (size_t i = 0; i < map.size; i++)
			if (map.kind[i] == UNKNOWN)
				fail_msg("%s: byte %zu of its struct is neither described nor derived",
					 map.device, i);
		free(map.kind);
		free(fill);
	}
}

static void move(const struct device_type *type, uint8_t *from, uint8_t *to)
{
	struct buf bytes = { 0 };
	struct merr err = { 0 };
	if (vmstate_save(type->state, from, &bytes, NULL, &err) < 0)
		fail_msg("%s: %s", type->name, err.msg);
	struct rcur in = rcur_of(bytes.data, bytes.len);
	if (vmstate_load(type->state, to, type->state->version, &in, bytes.data, &err) < 0)
		fail_msg("%s: %s", type->name, err.msg);
	assert_int_equal(in.left, 0);
	buf_done(&bytes);
}

static void test_what_is_described_arrives_and_the_rest_stays(void **state)
{
	(void)state;
	for (const struct device_type *const *t = device_types; *t; t++) {
		if (!(*t)->state)
			continue;
		uint8_t *from;
		struct map map = map_new(*t, &from);
		uint8_t *to = calloc(1, map.size);
		assert_non_null(to);
		for (size_t i = 0; i < map.size; i++) {
			if (map.kind[i] == DERIVED)
				from[i] = 0xaa;
			to[i] = map.kind[i] == DERIVED ? 0x55 : map.kind[i] == EQUAL ? from[i] : 0;
		}
		move(*t, from, to);
		for (size_t i = 0; i < map.size; i++)
			if (to[i] != (map.kind[i] == DERIVED ? 0x55 : from[i]))
				fail_msg("%s: byte %zu is %#x after the move, was %#x", map.device, i,
					 to[i], from[i]);
		free(map.kind);
		free(from);
		free(to);
	}
}

static void test_descriptions_are_sound(void **state)
{
	(void)state;
	for (const struct device_type *const *t = device_types; *t; t++) {
		struct merr err = { 0 };
		if ((*t)->state && vmstate_check((*t)->state, &err) < 0)
			fail_msg("%s: %s", (*t)->name, err.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte_is_accounted_for),
		cmocka_unit_test(test_what_is_described_arrives_and_the_rest_stays),
		cmocka_unit_test(test_descriptions_are_sound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
