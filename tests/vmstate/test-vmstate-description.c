/* SPDX-License-Identifier: Apache-2.0 */
/* The self-description of every kind, written by hand from WIRE.md 1.4. */
/* LIBS: migd_guest migd_base */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "guest/vmstate.h"

struct item {
	uint8_t v, n, data[4];
};

struct dev {
	bool flag;
	uint32_t id;
	uint64_t same;
	int16_t s;
	uint8_t raw[3];
	uint32_t n;
	uint8_t bytes[8];
	struct item one, many[2], tested[2], counted[2];
	bool extra;
};

static bool yes(void *opaque, uint32_t version)
{
	(void)opaque;
	(void)version;
	return true;
}

static bool extra_needed(void *opaque)
{
	return ((struct dev *)opaque)->extra;
}

static const struct migd_vmstate plain_vmstate = {
	.name = "plain", .version = 3,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct item, v), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate tested_vmstate = {
	.name = "tested", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_ROW("v", offsetof(struct item, v), 1, 1, 0, MIGD_VMS_U8, 0, 0, 0, NULL, yes, NULL, 0),
		MIGD_VMS_FIELD_END },
};

/* An array in it has a count of its own, so its elements differ in size. */
static const struct migd_vmstate counted_vmstate = {
	.name = "counted", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct item, n),
		MIGD_VMS_ROW("data", offsetof(struct item, data), 1, 4, offsetof(struct item, n), MIGD_VMS_U8,
			     MIGD_VMS_VARRAY_U8, 0, 0, NULL, NULL, NULL, 0),
		MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate extra_vmstate = {
	.name = "dev/extra", .version = 2,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U32(struct dev, id), MIGD_VMS_FIELD_END },
	.needed = extra_needed,
};

static const struct migd_vmstate dev_vmstate = {
	.name = "dev", .version = 4,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_BOOL(struct dev, flag),
		MIGD_VMS_FIELD_U32_EQUAL(struct dev, id),
		MIGD_VMS_FIELD_U64_EQUAL(struct dev, same),
		MIGD_VMS_FIELD_S16(struct dev, s),
		MIGD_VMS_FIELD_BUFFER(struct dev, raw),
		MIGD_VMS_FIELD_UNUSED(4),
		MIGD_VMS_FIELD_UNUSED(6),
		MIGD_VMS_FIELD_U32(struct dev, n),
		MIGD_VMS_FIELD_U8_VARRAY(struct dev, bytes, 8, n),
		MIGD_VMS_FIELD_STRUCT(struct dev, one, struct item, &plain_vmstate),
		MIGD_VMS_FIELD_STRUCT_ARRAY(struct dev, many, struct item, 2, &plain_vmstate),
		MIGD_VMS_FIELD_STRUCT_ARRAY(struct dev, tested, struct item, 2, &tested_vmstate),
		MIGD_VMS_FIELD_STRUCT_ARRAY(struct dev, counted, struct item, 2, &counted_vmstate),
		MIGD_VMS_FIELD_END },
	.subsections = (const struct migd_vmstate *const[]){ &extra_vmstate, NULL },
};

#define HEAD                                                                                       \
	"\"vmsd_name\": \"dev\", \"version\": 4, \"fields\": ["                                    \
	"{\"name\": \"flag\", \"type\": \"bool\", \"size\": 1}, "                                  \
	"{\"name\": \"id\", \"type\": \"uint32 equal\", \"size\": 4}, "                            \
	"{\"name\": \"same\", \"type\": \"int64 equal\", \"size\": 8}, "                           \
	"{\"name\": \"s\", \"type\": \"int16\", \"size\": 2}, "                                    \
	"{\"name\": \"raw\", \"type\": \"buffer\", \"size\": 3}, "                                 \
	"{\"name\": \"unused[0]\", \"type\": \"unused_buffer\", \"size\": 4}, "                    \
	"{\"name\": \"unused[1]\", \"type\": \"unused_buffer\", \"size\": 6}, "                    \
	"{\"name\": \"n\", \"type\": \"uint32\", \"size\": 4}, "
#define PLAIN "\"struct\": {\"vmsd_name\": \"plain\", \"version\": 3, \"fields\": [{\"name\": \"v\", \"type\": \"uint8\", \"size\": 1}]}, \"size\": 1}"
#define TESTED "\"struct\": {\"vmsd_name\": \"tested\", \"version\": 1, \"fields\": [{\"name\": \"v\", \"type\": \"uint8\", \"size\": 1}]}, \"size\": 1}"
#define TAIL                                                                                                   \
	"{\"name\": \"one\", \"type\": \"struct\", " PLAIN ", "                                                \
	"{\"name\": \"many\", \"array_len\": 2, \"type\": \"struct\", " PLAIN ", "                             \
	"{\"name\": \"tested\", \"index\": 0, \"type\": \"struct\", " TESTED ", "                              \
	"{\"name\": \"tested\", \"index\": 1, \"type\": \"struct\", " TESTED ", "                              \
	"{\"name\": \"counted\", \"index\": 0, \"type\": \"struct\", \"struct\": {\"vmsd_name\": \"counted\", \"version\": 1, \"fields\": [" \
	"{\"name\": \"n\", \"type\": \"uint8\", \"size\": 1}]}, \"size\": 1}, "                                \
	"{\"name\": \"counted\", \"index\": 1, \"type\": \"struct\", \"struct\": {\"vmsd_name\": \"counted\", \"version\": 1, \"fields\": [" \
	"{\"name\": \"n\", \"type\": \"uint8\", \"size\": 1}, "                                                \
	"{\"name\": \"data\", \"array_len\": 2, \"type\": \"uint8\", \"size\": 1}]}, \"size\": 3}]"
#define EXTRA ", \"subsections\": [{\"vmsd_name\": \"dev/extra\", \"version\": 2, \"fields\": [{\"name\": \"id\", \"type\": \"uint32\", \"size\": 4}]}]"

static void check(struct dev *d, const char *want)
{
	struct buf bytes = { 0 }, json = { 0 };

	assert_int_equal(vmstate_check(&dev_vmstate, NULL), 0);
	assert_int_equal(vmstate_save(&dev_vmstate, d, &bytes, &json, NULL), 0);
	buf_u8(&json, 0);
	assert_string_equal((const char *)json.data, want);
	buf_done(&bytes);
	buf_done(&json);
}

static void an_array_is_written_once_unless_its_elements_may_differ(void **state)
{
	struct dev d = { .n = 3, .counted = { { .n = 0 }, { .n = 2 } } };

	(void)state;
	check(&d, HEAD "{\"name\": \"bytes\", \"array_len\": 3, \"type\": \"uint8\", \"size\": 1}, " TAIL);
}

static void one_element_has_neither_length_nor_index(void **state)
{
	struct dev d = { .n = 1, .counted = { { .n = 0 }, { .n = 2 } } };

	(void)state;
	check(&d, HEAD "{\"name\": \"bytes\", \"type\": \"uint8\", \"size\": 1}, " TAIL);
}

static void no_element_is_not_described(void **state)
{
	struct dev d = { .n = 0, .counted = { { .n = 0 }, { .n = 2 } } };

	(void)state;
	check(&d, HEAD TAIL);
}

static void subsections_are_described_if_sent(void **state)
{
	struct dev d = { .n = 0, .extra = true, .counted = { { .n = 0 }, { .n = 2 } } };

	(void)state;
	check(&d, HEAD TAIL EXTRA);
}

static void strings_are_escaped(void **state)
{
	struct buf json = { 0 };

	(void)state;
	vmstate_json_str(&json, "a\"b\\c\n");
	buf_u8(&json, 0);
	assert_string_equal((const char *)json.data, "\"a\\\"b\\\\c\\u000a\"");
	buf_done(&json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_array_is_written_once_unless_its_elements_may_differ),
		cmocka_unit_test(one_element_has_neither_length_nor_index),
		cmocka_unit_test(no_element_is_not_described),
		cmocka_unit_test(subsections_are_described_if_sent),
		cmocka_unit_test(strings_are_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
