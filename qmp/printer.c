/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as QMP servers write it. */
#include "qmp/printer.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "schema/value.h"

#define REPLACEMENT 0xFFFD

static void print_character(struct buf *out, int32_t cp)
{
	static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	const char *at = cp > 0 && cp < 0x80 ? strchr(escaped, cp) : NULL;

	if (at) {
		buf_u8(out, '\\');
		buf_u8(out, (uint8_t)letters[at - escaped]);
	} else if (cp >= 0x20 && cp <= 0x7E) {
		buf_u8(out, (uint8_t)cp);
	} else if (cp > 0xFFFF) {
		cp -= 0x10000;
		buf_printf(out, "\\u%04X\\u%04X", (unsigned int)(0xD800 + (cp >> 10)),
			   (unsigned int)(0xDC00 + (cp & 0x3FF)));
	} else {
		buf_printf(out, "\\u%04X", (unsigned int)cp);
	}
}

static void print_string(struct buf *out, const char *s, size_t len)
{
	size_t i, n;
	int32_t cp;

	buf_u8(out, '"');
	for (i = 0; i < len; i += n) {
		cp = utf8_next(s + i, len - i, &n);
		print_character(out, cp < 0 ? REPLACEMENT : cp);
	}
	buf_u8(out, '"');
}

static void print_object(struct buf *out, const json_t *v)
{
	json_t *object = (json_t *)(uintptr_t)v, *value;
	bool first = true;
	const char *name;

	buf_u8(out, '{');
	json_object_foreach(object, name, value) {
		if (!first)
			buf_add_str(out, ", ");
		first = false;
		print_string(out, name, strlen(name));
		buf_add_str(out, ": ");
		qmp_print(out, value);
	}
	buf_u8(out, '}');
}

static void print_array(struct buf *out, const json_t *v)
{
	size_t i, n = json_array_size(v);

	buf_u8(out, '[');
	for (i = 0; i < n; i++) {
		if (i)
			buf_add_str(out, ", ");
		qmp_print(out, json_array_get(v, i));
	}
	buf_u8(out, ']');
}

void qmp_print(struct buf *out, const json_t *v)
{
	uint64_t big;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		print_object(out, v);
		break;
	case JSON_ARRAY:
		print_array(out, v);
		break;
	case JSON_STRING:
		if (json_is_big(v, &big))
			buf_printf(out, "%" PRIu64, big);
		else
			print_string(out, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		/* Adding 0 takes the sign off a zero: "-0" would be read as an integer, which has none. */
		buf_printf(out, "%.17g", json_real_value(v) + 0.0);
		break;
	case JSON_TRUE:
		buf_add_str(out, "true");
		break;
	case JSON_FALSE:
		buf_add_str(out, "false");
		break;
	case JSON_NULL:
		buf_add_str(out, "null");
		break;
	}
}
