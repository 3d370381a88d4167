/* SPDX-License-Identifier: Apache-2.0 */
/* The parser: framing, error texts, resynchronisation and limits of QMP.md 1.1, in packets of every size. */
/* LIBS: migd_qmp migd_schema migd_base */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "qmp/parser.h"
#include "qmp/printer.h"

#define U(x) "JSON parse error, " x

/* Feed in pieces of at most PIECE bytes; print what comes out, one line each: values as JSON, errors after "!". */
static void run(struct qmp_parser *p, const char *in, size_t len, size_t piece, struct buf *out)
{
	enum qmp_parser_result result;
	struct merr err;
	json_t *value;
	size_t at = 0, used, n;

	while (at < len) {
		n = len - at < piece ? len - at : piece;
		err = (struct merr)MERR_INIT;
		value = NULL;
		result = qmp_parser_feed(p, in + at, n, &used, &value, &err);
		/* Either all was used, or something is complete. */
		assert_true(used <= n && (used == n || result != QMP_PARSER_MORE));
		at += used;
		if (result == QMP_PARSER_VALUE)
			qmp_print(out, value);
		else if (result == QMP_PARSER_ERROR)
			buf_printf(out, "!%s", merr_msg(&err));
		if (result != QMP_PARSER_MORE)
			buf_add_str(out, "\n");
		json_decref(value);
	}
}

static void check(const char *in, size_t len, const char *expected)
{
	size_t piece;

	for (piece = 1; piece <= len; piece++) {
		struct qmp_parser p = { .limits = &qmp_parser_default_limits };
		struct buf out = { 0 };

		run(&p, in, len, piece, &out);
		buf_u8(&out, 0);
		if (strcmp((char *)out.data, expected) != 0)
			fail_msg("in pieces of %zu, '%s' gives:\n%sinstead of:\n%s", piece, in, (char *)out.data, expected);
		buf_done(&out);
		qmp_parser_done(&p);
	}
}

struct sample {
	const char *in;
	const char *out;
};

static void check_all(const struct sample *samples, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		check(samples[i].in, strlen(samples[i].in), samples[i].out);
}
#define CHECK_ALL(samples) check_all(samples, sizeof(samples) / sizeof((samples)[0]))

static void values_need_no_delimiters(void **state)
{
	static const struct sample samples[] = {
		{ "{}{}", "{}\n{}\n" },
		{ " \t\r\n\n", "" },
		{ "{\"execute\": \"a\"} [1]", "{\"execute\": \"a\"}\n[1]\n" },
		{ "1 2\n", "1\n2\n" },
		{ "true{}", "true\n{}\n" },
		{ "\"a\"\"b\"", "\"a\"\n\"b\"\n" },
		{ "null,", "null\n!" U("expecting value") "\n" },
		{ "[1, [2, {\"a\": [3]}]]\r\n", "[1, [2, {\"a\": [3]}]]\n" },
		{ "{'a':'it\\'s'}", "{\"a\": \"it's\"}\n" },
	};

	(void)state;
	CHECK_ALL(samples);
}

static void numbers_keep_their_kind(void **state)
{
	static const struct sample samples[] = {
		{ "[0, -0, 10, -9223372036854775808, 9223372036854775807]",
		  "[0, 0, 10, -9223372036854775808, 9223372036854775807]\n" },
		{ "[9223372036854775808, 18446744073709551615]", "[9223372036854775808, 18446744073709551615]\n" },
		{ "[18446744073709551616]", "[1.8446744073709552e+19]\n" },
		{ "[1.5e10, 0.1, -1E-2, 1e+2]", "[15000000000, 0.10000000000000001, -0.01, 100]\n" },
		{ "[-0E-2, -0.0]", "[0, 0]\n" },
		{ "[1e999]", "!" U("number is out of range") "\n" },
		{ "[01]", "!" U("stray '01'") "\n!" U("expecting value") "\n" },
		{ "[+1]", "!" U("stray '+'") "\n!" U("expecting value") "\n" },
		{ "[-]", "!" U("stray '-]'") "\n" },
		{ "[1.]", "!" U("stray '1.]'") "\n" },
		{ "[1e,", "!" U("stray '1e,'") "\n" },
	};

	(void)state;
	CHECK_ALL(samples);
}

static void strings_are_checked(void **state)
{
	static const struct sample samples[] = {
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\'\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t'\"\n" },
		{ "\"\\u00e9\xC3\xA9\"", "\"\\u00E9\\u00E9\"\n" },
		{ "\"\\uD83D\\uDE00\xF0\x9F\x98\x80\"", "\"\\uD83D\\uDE00\\uD83D\\uDE00\"\n" },
		{ "\"a\\u0000b\xC0\x80\"", "\"a\\u0000b\\u0000\"\n" },
		{ "{\"a\\u0000b\": 1}", "{\"a\\u0000b\": 1}\n" },
		{ "\"\x7F\"", "\"\\u007F\"\n" },
		{ "\"\\x\"", "!" U("invalid escape sequence in string") "\n" },
		{ "\"\\u12\"", "!" U("\\u12 is not a valid Unicode character") "\n" },
		{ "\"\\uD800\"", "!" U("\\uD800 is not a valid Unicode character") "\n" },
		{ "\"\\uD800\\u0041\"", "!" U("\\uD800 is not a valid Unicode character") "\n" },
		{ "\"\\uDC00\"", "!" U("\\uDC00 is not a valid Unicode character") "\n" },
		{ "\"\\uFFFF\"", "!" U("\\uFFFF is not a valid Unicode character") "\n" },
		{ "\"\xC0\xAF\"", "!" U("invalid UTF-8 sequence in string") "\n" },
		{ "\"\xED\xA0\x80\"", "!" U("invalid UTF-8 sequence in string") "\n" },
		{ "\"\xE2\x82\"", "!" U("invalid UTF-8 sequence in string") "\n" },
		{ "\"\xF4\x90\x80\x80\"", "!" U("invalid UTF-8 sequence in string") "\n" },
		{ "\"\xEF\xBF\xBF\"", "!" U("invalid UTF-8 sequence in string") "\n" },
		{ "\"a\tb\"{}", "!" U("stray '\"a\t'") "\n{}\n" },
		{ "\"a\nb\"{}", "!" U("stray '\"a\n'") "\n{}\n" },
	};

	(void)state;
	CHECK_ALL(samples);
}

static void every_mistake_has_its_text(void **state)
{
	static const struct sample samples[] = {
		{ "[1,]", "!" U("expecting value") "\n" },
		{ "{\"a\":1,}", "!" U("expecting value") "\n" },
		{ "{\"a\":}", "!" U("expecting value") "\n" },
		{ "]", "!" U("expecting value") "\n" },
		{ "}{}", "!" U("expecting value") "\n{}\n" },
		{ "{1: 2}", "!" U("key is not a string in object") "\n" },
		{ "{\"a\" 1}", "!" U("missing : in object pair") "\n" },
		{ "{\"a\": 1 \"b\": 2}", "!" U("expected separator in dict") "\n" },
		{ "[1 2]", "!" U("expected separator in list") "\n" },
		{ "[1}", "!" U("expected separator in list") "\n" },
		{ "{\"a\": nope}", "!" U("invalid keyword 'nope'") "\n" },
		{ "nope\n", "!" U("invalid keyword 'nope'") "\n" },
		{ "{\"a\": 1, \"a\": 2}", "!" U("duplicate key") "\n" },
		{ "{\"o\": {\"a\": 1, 'a': 2}}", "!" U("duplicate key") "\n" },
		{ "nOpe {}", "!" U("invalid keyword 'n'") "\n!" U("stray 'O'") "\n{}\n" },
	};

	(void)state;
	CHECK_ALL(samples);
}

static void errors_do_not_spread(void **state)
{
	static const struct sample samples[] = {
		/* The partial value is dropped, and what follows is skipped up to the next likely start. */
		{ "{\"a\": [1, @ 2 3 {}", "!" U("stray '@'") "\n{}\n" },
		{ "%% hello\n{}", "!" U("stray '%'") "\n{}\n" },
		{ "@\t @ \"x\" [1]", "!" U("stray '@'") "\n[1]\n" },
		/* Clients reset the parser by a byte that is never part of JSON. */
		{ "{\"a\": \"b\xFF{}", "!" U("stray '\"b\xFF'") "\n{}\n" },
		{ "\xFF{}", "!" U("stray '\xFF'") "\n{}\n" },
		{ "[[[\x01{}", "!" U("stray '\x01'") "\n{}\n" },
		{ "{\xFF\xFE\xFF[]", "!" U("stray '\xFF'") "\n!" U("stray '\xFE'") "\n!" U("stray '\xFF'") "\n[]\n" },
	};

	(void)state;
	CHECK_ALL(samples);
}

static void nul_bytes_are_stray(void **state)
{
	(void)state;
	check("\0{}", 3, "!" U("stray ''") "\n{}\n");
}

static void what_is_left_at_the_end_is_said(void **state)
{
	static const struct sample samples[] = {
		{ "", "more" }, { "12", "12" }, { "true", "true" }, { "[1,", U("premature EOI") },
		{ "{", U("premature EOI") }, { "{\"a\":", U("premature EOI") }, { "@@", "more" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct qmp_parser p = { .limits = &qmp_parser_default_limits };
		struct merr err = MERR_INIT;
		struct buf ignored = { 0 }, out = { 0 };
		json_t *value = NULL;

		run(&p, samples[i].in, strlen(samples[i].in), 100, &ignored);
		switch (qmp_parser_finish(&p, &value, &err)) {
		case QMP_PARSER_MORE:
			buf_add_str(&out, "more");
			break;
		case QMP_PARSER_VALUE:
			qmp_print(&out, value);
			break;
		case QMP_PARSER_ERROR:
			buf_add_str(&out, merr_msg(&err));
			break;
		}
		buf_u8(&out, 0);
		assert_string_equal((char *)out.data, samples[i].out);
		json_decref(value);
		buf_done(&ignored);
		buf_done(&out);
		qmp_parser_done(&p);
	}
}

static void check_limited(const struct qmp_parser_limits *limits, const char *in, const char *expected)
{
	struct qmp_parser p = { .limits = limits };
	struct buf out = { 0 };

	run(&p, in, strlen(in), 3, &out);
	buf_u8(&out, 0);
	assert_string_equal((char *)out.data, expected);
	buf_done(&out);
	qmp_parser_done(&p);
}

static void limits_hold(void **state)
{
	static const struct qmp_parser_limits limits = { .text_bytes = 20, .tokens = 8, .nesting = 3 };

	(void)state;
	check_limited(&limits, "[[[]]]", "[[[]]]\n");
	check_limited(&limits, "[[[[ {}", "!JSON nesting depth limit exceeded\n{}\n");
	check_limited(&limits, "{'a':{'b':[ [", "!JSON nesting depth limit exceeded\n");
	check_limited(&limits, "[1,2,]", "!JSON parse error, expecting value\n");
	check_limited(&limits, "[1,2,3,4 ", "");
	check_limited(&limits, "[1,2,3,4] {}", "!JSON token count limit exceeded\n{}\n");
	check_limited(&limits, "'012345678901234567' {}", "\"012345678901234567\"\n{}\n");
	check_limited(&limits, "'0123456789012345678' {}", "!JSON token size limit exceeded\n{}\n");
	/* Said as soon as it is certain; the rest of the token is no news. */
	check_limited(&limits, "'01234567890123456789 0123456789 0123456789 0123456789' {}",
		      "!JSON token size limit exceeded\n{}\n");
	check_limited(&limits, "['01234567','01234567'] {}", "!JSON token size limit exceeded\n!" U("expecting value") "\n{}\n");
}

static void deep_nesting_is_no_danger(void **state)
{
	struct qmp_parser p = { .limits = &qmp_parser_default_limits };
	char text[2048 + 1];
	struct buf out = { 0 };

	(void)state;
	memset(text, '[', 1024);
	memset(text + 1024, ']', 1024);
	text[2048] = '\0';
	run(&p, text, 2048, 100, &out);
	assert_int_equal(out.len, 2049);
	buf_done(&out);
	qmp_parser_done(&p);
}

static void a_token_of_64_mib_is_read_and_one_more_byte_is_not(void **state)
{
	struct qmp_parser p = { .limits = &qmp_parser_default_limits };
	size_t max = 64U << 20, used;
	struct merr err = MERR_INIT;
	char *text = malloc(max + 1);
	json_t *value = NULL;

	(void)state;
	memset(text, 'a', max + 1);
	text[0] = text[max - 1] = '"';
	assert_int_equal(qmp_parser_feed(&p, text, max, &used, &value, &err), QMP_PARSER_VALUE);
	assert_int_equal(json_string_length(value), max - 2);
	json_decref(value);
	/* Memory is given back. */
	assert_true(p.text.cap <= 65536);
	text[max - 1] = 'a';
	text[max] = '"';
	assert_int_equal(qmp_parser_feed(&p, text, max + 1, &used, &value, &err), QMP_PARSER_ERROR);
	assert_string_equal(merr_msg(&err), "JSON token size limit exceeded");
	free(text);
	qmp_parser_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_need_no_delimiters),
		cmocka_unit_test(numbers_keep_their_kind),
		cmocka_unit_test(strings_are_checked),
		cmocka_unit_test(every_mistake_has_its_text),
		cmocka_unit_test(errors_do_not_spread),
		cmocka_unit_test(nul_bytes_are_stray),
		cmocka_unit_test(what_is_left_at_the_end_is_said),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(deep_nesting_is_no_danger),
		cmocka_unit_test(a_token_of_64_mib_is_read_and_one_more_byte_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
