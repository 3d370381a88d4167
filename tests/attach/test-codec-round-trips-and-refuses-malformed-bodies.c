/* SPDX-License-Identifier: Apache-2.0 */
/* Every body of the attach protocol: what is encoded comes back; cut, padded and hostile bytes are refused. */
/* LIBS: migd_attach migd_base */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attach/codec.h"
#include "base/cleanup.h"

#define BODY_SIZE_MAX 4096
#define ROUNDS 200

static uint64_t random_state = 88172645463325252ULL;

static uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* ---- random structs ---- */

static uint8_t blob_bytes[300];

#define FILL_u8(m) v->m = (uint8_t)random_u64();
#define FILL_u16(m) v->m = (uint16_t)random_u64();
#define FILL_u32(m) v->m = (uint32_t)random_u64();
#define FILL_u64(m) v->m = random_u64();
#define FILL_id(m)                                  \
	for (size_t i = 0; i < ATTACH_ID_LEN; i++)  \
		v->m[i] = (uint8_t)random_u64();
#define FILL_str(m)                                                \
	{                                                          \
		size_t len = random_u64() % (ATTACH_STR_MAX + 1);  \
		for (size_t i = 0; i < len; i++)                   \
			v->m[i] = (char)(1 + random_u64() % 255);  \
		v->m[len] = '\0';                                  \
	}
#define FILL_blob(m)                                                      \
	v->m = (struct attach_blob){ .data = blob_bytes,                  \
				     .len = (uint32_t)(random_u64() % sizeof(blob_bytes)) };
#define FILL_FIELD(kind, m) FILL_##kind(m)

#define DEFINE_FILL(upper, lower)                \
	static void fill_##lower(void *p)        \
	{                                        \
		struct attach_##lower *v = p;    \
		(void)v;                         \
		ATTACH_##upper##_FIELDS(FILL_FIELD) \
	}
ATTACH_BODIES(DEFINE_FILL)

#define DEFINE_WRAP(upper, lower)                                                     \
	static int enc_##lower(struct wcur *c, const void *v)                         \
	{                                                                             \
		return attach_##lower##_encode(c, v);                                 \
	}                                                                             \
	static int dec_##lower(struct rcur *c, void *v, struct merr *err)             \
	{                                                                             \
		return attach_##lower##_decode(c, v, err);                            \
	}
ATTACH_BODIES(DEFINE_WRAP)

static const struct body {
	const char *name;
	void (*fill)(void *v);
	int (*encode)(struct wcur *c, const void *v);
	int (*decode)(struct rcur *c, void *v, struct merr *err);
	size_t size;
} bodies[] = {
#define BODY_ROW(upper, lower) \
	{ #lower, fill_##lower, enc_##lower, dec_##lower, sizeof(struct attach_##lower) },
	ATTACH_BODIES(BODY_ROW)
};

static size_t encode_random(const struct body *b, uint8_t *bytes, size_t cap)
{
	_Alignas(16) uint8_t v[BODY_SIZE_MAX] = { 0 };
	struct wcur w = wcur_of(bytes, cap);

	assert_true(b->size <= sizeof(v));
	b->fill(v);
	assert_int_equal(b->encode(&w, v), 0);
	return w.len;
}

static void round_trip(const struct body *b)
{
	_Alignas(16) uint8_t v[BODY_SIZE_MAX] = { 0 };
	uint8_t one[BODY_SIZE_MAX], two[BODY_SIZE_MAX];
	size_t len = encode_random(b, one, sizeof(one));
	struct rcur r = rcur_of(one, len);
	struct wcur w = wcur_of(two, sizeof(two));
	struct merr err = MERR_INIT;

	assert_int_equal(b->decode(&r, v, &err), 0);
	assert_int_equal(b->encode(&w, v), 0);
	assert_int_equal(w.len, len);
	assert_memory_equal(one, two, len);
}

static void test_round_trips(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		for (int k = 0; k < ROUNDS; k++)
			round_trip(&bodies[i]);
}

/* Each proper prefix misses something; *v stays as it was. */
static void test_refuses_truncated(void **state)
{
	uint8_t bytes[BODY_SIZE_MAX], *exact;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		size_t len = encode_random(&bodies[i], bytes, sizeof(bytes));

		for (size_t cut = 0; cut < len; cut++) {
			_Alignas(16) uint8_t v[BODY_SIZE_MAX], before[BODY_SIZE_MAX];
			struct merr err = MERR_INIT;
			struct rcur r;

			exact = malloc(cut + 1);	/* so that a sanitizer sees a step too far */
			memcpy(exact, bytes, cut);
			memset(v, 0x5a, sizeof(v));
			memcpy(before, v, sizeof(v));
			r = rcur_of(exact, cut);
			if (bodies[i].decode(&r, v, &err) != -EBADMSG)
				fail_msg("%s cut to %zu of %zu bytes was accepted", bodies[i].name, cut, len);
			assert_memory_equal(v, before, sizeof(v));
			assert_non_null(strstr(merr_msg(&err), bodies[i].name));
			free(exact);
		}
	}
}

static void test_refuses_trailing_bytes(void **state)
{
	uint8_t bytes[BODY_SIZE_MAX] = { 0 }, v[BODY_SIZE_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		size_t len = encode_random(&bodies[i], bytes, sizeof(bytes) - 1);
		struct rcur r = rcur_of(bytes, len + 1);
		bool list = !strcmp(bodies[i].name, "ram_block") ||
			    !strcmp(bodies[i].name, "interface") ||
			    !strcmp(bodies[i].name, "mismatch") ||
			    !strcmp(bodies[i].name, "vcpu_dirty") ||
			    !strcmp(bodies[i].name, "live_device");
		struct merr err = MERR_INIT;

		assert_int_equal(bodies[i].decode(&r, v, &err), list ? 0 : -EBADMSG);
		if (list)
			assert_int_equal(attach_decode_end(&r, &err), -EBADMSG);
	}
}

static void test_survives_garbage(void **state)
{
	uint8_t bytes[512];
	_Alignas(16) uint8_t v[BODY_SIZE_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		for (int k = 0; k < 2000; k++) {
			size_t len = random_u64() % sizeof(bytes);
			struct rcur r = rcur_of(bytes, len);

			for (size_t n = 0; n < len; n++)
				bytes[n] = random_u64() % 4 ? 0 : (uint8_t)random_u64();
			(void)bodies[i].decode(&r, v, NULL);
		}
	}
}

static void test_does_not_overrun_the_buffer(void **state)
{
	uint8_t bytes[BODY_SIZE_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		_Alignas(16) uint8_t v[BODY_SIZE_MAX] = { 0 };
		struct wcur w = wcur_of(bytes, sizeof(bytes));

		bodies[i].fill(v);
		assert_int_equal(bodies[i].encode(&w, v), 0);
		if (!w.len)
			continue;
		w = wcur_of(bytes, w.len - 1);
		assert_int_equal(bodies[i].encode(&w, v), -EMSGSIZE);
	}
}

static void expect_bad_hello(const uint8_t *bytes, size_t len, const char *what)
{
	struct rcur r = rcur_of(bytes, len);
	struct attach_hello h;
	struct merr err = MERR_INIT;

	assert_int_equal(attach_hello_decode(&r, &h, &err), -EBADMSG);
	if (!strstr(merr_msg(&err), what))
		fail_msg("expected '%s' in '%s'", what, merr_msg(&err));
}

static void test_refuses_bad_strings(void **state)
{
	struct attach_hello h = { .name = "vm", .arch = "x86_64" };
	uint8_t bytes[BODY_SIZE_MAX];
	struct wcur w = wcur_of(bytes, sizeof(bytes));
	const size_t name_at = 2 + 2 + 8 + ATTACH_ID_LEN;

	(void)state;
	assert_int_equal(attach_hello_encode(&w, &h), 0);
	bytes[name_at + 2] = 0;
	expect_bad_hello(bytes, w.len, "field 'name': the string holds a NUL");
	bytes[name_at] = 128;
	expect_bad_hello(bytes, w.len, "field 'name': the string is too long");
	memset(h.name, 'x', sizeof(h.name));	/* no NUL at all */
	w = wcur_of(bytes, sizeof(bytes));
	assert_int_equal(attach_hello_encode(&w, &h), -EMSGSIZE);
}

static void test_refuses_a_blob_beyond_the_end(void **state)
{
	uint8_t bytes[8] = { 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4 };
	struct rcur r = rcur_of(bytes, sizeof(bytes));
	struct attach_config c = { { 0 } };
	struct merr err = MERR_INIT;

	(void)state;
	assert_int_equal(attach_config_decode(&r, &c, &err), -EBADMSG);
	assert_null(c.config.data);
	assert_string_equal(merr_msg(&err),
			    "attach message 'config': field 'config': the bytes end beyond the end of the message");
}

static void test_errors_have_names(void **state)
{
	(void)state;
	for (int e = ATTACH_ERR_NOT_SUPPORTED; e <= ATTACH_ERR_CANCELLED; e++) {
		int code = attach_error_to_errno(e);

		assert_true(code < 0);
		assert_int_equal(attach_error_of(code), e);
	}
	assert_int_equal(attach_error_to_errno(ATTACH_OK), 0);
	assert_int_equal(attach_error_to_errno(12345), -EIO);
	assert_int_equal(attach_error_to_errno(-1), -EIO);
	assert_int_equal(attach_error_of(-ENOTTY), ATTACH_ERR_IO);
	assert_int_equal(attach_error_of(-EBADMSG), ATTACH_ERR_BAD_MESSAGE);
}

static void test_types_have_names(void **state)
{
	(void)state;
	assert_string_equal(attach_type_name(ATTACH_RELEASE), "RELEASE");
	assert_string_equal(attach_type_name(31), "type 31");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_refuses_truncated),
		cmocka_unit_test(test_refuses_trailing_bytes),
		cmocka_unit_test(test_survives_garbage),
		cmocka_unit_test(test_does_not_overrun_the_buffer),
		cmocka_unit_test(test_refuses_bad_strings),
		cmocka_unit_test(test_refuses_a_blob_beyond_the_end),
		cmocka_unit_test(test_errors_have_names),
		cmocka_unit_test(test_types_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
