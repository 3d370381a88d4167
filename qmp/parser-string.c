/* SPDX-License-Identifier: Apache-2.0 */
/* String tokens: escapes and UTF-8. */
#include <errno.h>
#include <string.h>

#include "qmp/parser-value.h"
#include "schema/value.h"

#define HEX_DIGITS 4

struct escapes {
	const char *p;	/* the next character */
	const char *end;	/* the closing quote */
	struct merr *err;
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Four hex digits at P, or -1. */
static int32_t hex_unit(const char *p, const char *end)
{
	int32_t v = 0;
	int i, digit;

	if (end - p < HEX_DIGITS)
		return -1;
	for (i = 0; i < HEX_DIGITS; i++) {
		digit = hex_digit(p[i]);
		if (digit < 0)
			return -1;
		v = v << 4 | digit;
	}
	return v;
}

static void skip_hex(struct escapes *e)
{
	e->p += e->end - e->p < HEX_DIGITS ? e->end - e->p : HEX_DIGITS;
}

/* After the "\u": one unit, or two that make a surrogate pair. -1 if that is no character. */
static int32_t unicode_escape(struct escapes *e)
{
	int32_t cp = hex_unit(e->p, e->end), low;

	skip_hex(e);
	if (cp < 0xD800 || cp > 0xDBFF || e->end - e->p < 2 || e->p[0] != '\\' || e->p[1] != 'u')
		return cp;
	low = hex_unit(e->p + 2, e->end);
	if (low < 0xDC00 || low > 0xDFFF)
		return -1;
	e->p += 2;
	skip_hex(e);
	return 0x10000 + ((cp & 0x3FF) << 10) + (low & 0x3FF);
}

static int simple_escape(char c)
{
	static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
	const char *at = strchr(from, c);

	return c && at ? to[at - from] : -1;
}

/* After the backslash. */
static int add_escape(struct escapes *e, struct buf *ret)
{
	const char *start = e->p - 1;
	char utf8[4];
	size_t n;
	int c;

	if (*e->p == 'u') {
		e->p++;
		n = utf8_put(utf8, unicode_escape(e));
		if (!n)
			return merr_set(e->err, -EINVAL,
					"JSON parse error, %.*s is not a valid Unicode character",
					(int)(e->p - start), start);
		buf_add(ret, utf8, n);
		return 0;
	}
	c = simple_escape(*e->p);
	if (c < 0)
		return merr_set(e->err, -EINVAL,
				"JSON parse error, invalid escape sequence in string");
	e->p++;
	buf_u8(ret, (uint8_t)c);
	return 0;
}

static int add_character(struct escapes *e, struct buf *ret)
{
	size_t n;

	if (utf8_next(e->p, (size_t)(e->end - e->p), &n) < 0)
		return merr_set(e->err, -EINVAL,
				"JSON parse error, invalid UTF-8 sequence in string");
	buf_add(ret, e->p, n);
	e->p += n;
	return 0;
}

int qmp_parser_string(const char *token, size_t len, struct buf *ret, struct merr *err)
{
	struct escapes e = { .p = token + 1, .end = token + len - 1, .err = err };
	int r = 0;

	while (e.p < e.end && r == 0) {
		if (*e.p == '\\') {
			e.p++;
			r = add_escape(&e, ret);
		} else {
			r = add_character(&e, ret);
		}
	}
	if (r == 0 && ret->error)
		r = merr_set(err, -ENOMEM, "out of memory");
	return r;
}
