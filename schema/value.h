/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values that jansson alone does not have.
 *
 * jansson's integers are int64. QMP's go up to 2^64 - 1, and must not be rounded. Such a number is
 * kept as a string of U+FFFF and its decimal digits: no string from outside can look like that,
 * since U+FFFF is no character and the parser in qmp/ refuses it; and it survives json_dumps() and
 * json_loads(). The printer in qmp/ writes it as a number.
 */
#ifndef MIGD_SCHEMA_VALUE_H
#define MIGD_SCHEMA_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new reference to an integer; NULL without memory. */
json_t *json_uint64(uint64_t v);

/* True if J is an integer above INT64_MAX, made by json_uint64(). */
bool json_is_big(const json_t *j, uint64_t *ret);

/* True if J is any number. */
bool json_is_any_number(const json_t *j);

/*
 * A new string with the LEN bytes at S (SIZE_MAX: up to the NUL); bytes that are not UTF-8, or no
 * characters, become U+FFFD. NULL without memory.
 */
json_t *json_text(const char *s, size_t len);

/*
 * The code point at S (LEN > 0 bytes left), and its length in *RET_LEN. -1 if it is not UTF-8: then
 * *RET_LEN bytes are wrong together. Overlong forms, surrogates and what is no character are not
 * UTF-8, except C0 80, which is NUL.
 */
int32_t utf8_next(const char *s, size_t len, size_t *ret_len);

/* CP in UTF-8 (NUL as C0 80) in BUF; the length, or 0 if it is no character. */
size_t utf8_put(char buf[4], int32_t cp);

#endif
