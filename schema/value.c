/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values that jansson alone does not have: big integers, text from anywhere. */
#include "schema/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define BIG_MARK "\xEF\xBF\xBF"	/* U+FFFF */
#define BIG_MARK_LEN 3
#define REPLACEMENT "\xEF\xBF\xBD"	/* U+FFFD */

json_t *json_uint64(uint64_t v)
{
	char text[BIG_MARK_LEN + 21];

	if (v <= INT64_MAX)
		return json_integer((json_int_t)v);
	(void)snprintf(text, sizeof(text), BIG_MARK "%" PRIu64, v);
	return json_string_nocheck(text);
}

bool json_is_big(const json_t *j, uint64_t *ret)
{
	const char *s = json_string_value(j);
	uint64_t v = 0;

	if (!s || memcmp(s, BIG_MARK, strnlen(s, BIG_MARK_LEN)) != 0 || !s[0] || !s[BIG_MARK_LEN])
		return false;
	for (s += BIG_MARK_LEN; *s; s++) {
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return false;
	}
	if (v <= INT64_MAX)
		return false;
	*ret = v;
	return true;
}

bool json_is_any_number(const json_t *j)
{
	uint64_t v;

	return json_is_number(j) || json_is_big(j, &v);
}

/* No surrogates, and none of the code points that Unicode keeps from being characters. */
static bool is_character(int32_t cp)
{
	return cp >= 0 && cp <= 0x10FFFF && !(cp >= 0xD800 && cp <= 0xDFFF) &&
	       !(cp >= 0xFDD0 && cp <= 0xFDEF) && (cp & 0xFFFE) != 0xFFFE;
}

/* By the first byte: how many there are, or 0. */
static size_t utf8_len(uint8_t first)
{
	if ((first & 0xE0) == 0xC0)
		return 2;
	if ((first & 0xF0) == 0xE0)
		return 3;
	return (first & 0xF8) == 0xF0 ? 4 : 0;
}

int32_t utf8_next(const char *s, size_t len, size_t *ret_len)
{
	/* By the number of bytes: the smallest code point that needs so many. */
	static const int32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *p = (const uint8_t *)s;
	size_t want, n;
	int32_t cp;

	*ret_len = 1;
	if (p[0] < 0x80)
		return p[0];
	want = utf8_len(p[0]);
	if (!want)
		return -1;
	cp = p[0] & (0x7F >> want);
	for (n = 1; n < want; n++) {
		if (n == len || (p[n] & 0xC0) != 0x80)
			break;
		cp = cp << 6 | (p[n] & 0x3F);
	}
	*ret_len = n;
	if (n < want)
		return -1;
	if (cp < smallest[want] && !(cp == 0 && want == 2))
		return -1;
	return is_character(cp) ? cp : -1;
}

size_t utf8_put(char buf[4], int32_t cp)
{
	size_t n, i;

	if (!is_character(cp))
		return 0;
	if (cp > 0 && cp < 0x80) {
		buf[0] = (char)cp;
		return 1;
	}
	n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	for (i = n - 1; i > 0; i--, cp >>= 6)
		buf[i] = (char)(0x80 | (cp & 0x3F));
	buf[0] = (char)((0xF00 >> n & 0xFF) | cp);
	return n;
}

json_t *json_text(const char *s, size_t len)
{
	struct buf b = { 0 };
	json_t *j = NULL;
	size_t i, n;

	if (len == SIZE_MAX)
		len = strlen(s);
	for (i = 0; i < len; i += n) {
		int32_t cp = utf8_next(s + i, len - i, &n);

		if (cp < 0)
			buf_add_str(&b, REPLACEMENT);
		else if (cp == 0)
			buf_u8(&b, 0);
		else
			buf_add(&b, s + i, n);
	}
	if (!b.error)
		j = json_stringn_nocheck(b.data ? (const char *)b.data : "", b.len);
	buf_done(&b);
	return j;
}
