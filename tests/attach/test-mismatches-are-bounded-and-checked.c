/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what keeps a guest from moving: bounded when made, checked when it comes from elsewhere, readable. */
/* LIBS: migd_attach migd_base */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attach/codec.h"
#include "attach/mismatch.h"

static struct mismatches made, got;
static uint8_t bytes[ATTACH_BODY_MAX];

static size_t encode(const struct mismatches *m)
{
	struct wcur w = wcur_of(bytes, sizeof(bytes));

	assert_int_equal(mismatches_encode(&w, m), 0);
	return w.len;
}

static int decode(size_t len, struct merr *err)
{
	struct rcur c = rcur_of(bytes, len);

	return mismatches_decode(&c, &got, err);
}

static void fill(unsigned int n)
{
	made = (struct mismatches){ 0 };
	for (unsigned int i = 0; i < n; i++)
		mismatch_add(&made, MISMATCH_TEXT("device %u", i), "version 2", "missing", "add it");
}

static void a_list_survives_its_way(void **state)
{
	(void)state;
	for (unsigned int n = 0; n <= ATTACH_MISMATCHES_MAX + 3; n++) {
		fill(n);
		assert_int_equal(decode(encode(&made), NULL), 0);
		assert_int_equal(got.found, n);
		assert_int_equal(got.n, n < ATTACH_MISMATCHES_MAX ? n : ATTACH_MISMATCHES_MAX);
		for (unsigned int i = 0; i < got.n; i++)
			assert_string_equal(got.list[i].subject, MISMATCH_TEXT("device %u", i));
	}
}

static void the_same_is_listed_once(void **state)
{
	(void)state;
	fill(0);
	for (int i = 0; i < 3; i++)
		mismatch_add(&made, "TSC", "1", "2", "choose another host");
	mismatch_add(&made, "TSC", "1", "3", "choose another host");
	assert_int_equal(made.found, 2);
}

static void texts_are_cut_and_made_printable(void **state)
{
	char big[1000];

	(void)state;
	fill(0);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	mismatch_add(&made, big, "tab\there", "caf\xc3\xa9", big);
	assert_int_equal(strlen(made.list[0].subject), ATTACH_STR_MAX);
	assert_string_equal(made.list[0].source, "tab?here");
	assert_string_equal(made.list[0].target, "caf??");
	assert_true(mismatch_is_sound(&made.list[0]));
	/* The longest there can be fits a message. */
	fill(0);
	for (unsigned int i = 0; i < ATTACH_MISMATCHES_MAX; i++) {
		big[0] = (char)('0' + i);
		mismatch_add(&made, big, big, big, big);
	}
	assert_int_equal(made.n, ATTACH_MISMATCHES_MAX);
	assert_int_equal(decode(encode(&made), NULL), 0);
}

static void the_text_tells_all_or_how_many_more(void **state)
{
	struct merr err = MERR_INIT;

	(void)state;
	fill(0);
	assert_int_equal(mismatches_fail(&made, "here", &err), 0);
	fill(2);
	assert_int_equal(mismatches_fail(&made, "at the target", &err), -EINVAL);
	assert_string_equal(merr_msg(&err), "device 0: version 2 at the source, missing at the target: add it; "
					    "device 1: version 2 at the source, missing at the target: add it");
	merr_clear(&err);
	fill(50);
	assert_int_equal(mismatches_fail(&made, "here", &err), -EINVAL);
	assert_non_null(strstr(merr_msg(&err), "; and "));
	assert_string_equal(merr_msg(&err) + strlen(merr_msg(&err)) - 5, " more");
}

/* What a peer may not say. */
static void a_malformed_list_is_refused(void **state)
{
	static const char *const hostile[] = { "", "new\nline", "caf\xc3\xa9", "\x1b[2J" };
	struct merr err = MERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		fill(2);
		strcpy(made.list[1].subject, hostile[i]);
		assert_int_equal(decode(encode(&made), &err), -EBADMSG);
		assert_true(merr_is_set(&err));
	}
	fill(2);
	made.found = 1;
	assert_int_equal(decode(encode(&made), NULL), -EBADMSG);
	fill(2);
	for (size_t len = encode(&made), cut = 0; cut < len; cut++)
		assert_int_equal(decode(cut, NULL), -EBADMSG);
}

/* More, or fewer, than the body says. */
static void a_wrong_count_is_refused(void **state)
{
	(void)state;
	for (unsigned int n = 0; n <= ATTACH_MISMATCHES_MAX + 1; n++) {
		size_t len;

		fill(2);
		made.found = 100;
		len = encode(&made);
		bytes[4] = (uint8_t)n;
		assert_int_equal(decode(len, NULL), n == 2 ? 0 : -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_survives_its_way),
		cmocka_unit_test(the_same_is_listed_once),
		cmocka_unit_test(texts_are_cut_and_made_printable),
		cmocka_unit_test(the_text_tells_all_or_how_many_more),
		cmocka_unit_test(a_malformed_list_is_refused),
		cmocka_unit_test(a_wrong_count_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
