/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people write them. */
#include "base/size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 2^(10 n) for the n-th of them, in either case. */
static const char suffixes[] = "BKMGTPE";

static int parse_suffix(const char *text, char otherwise, uint64_t *ret_unit)
{
	char c = text[0] ? text[0] : otherwise;
	const char *at = strchr(suffixes, c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);

	if (!at || (text[0] && text[1]))
		return -EINVAL;
	*ret_unit = UINT64_C(1) << 10 * (at - suffixes);
	return 0;
}

/* ".DIGITS" of a unit, rounded down; *END is left behind it. */
static uint64_t parse_fraction(const char *text, const char **end, uint64_t unit)
{
	double weight = 0.1, sum = 0;

	for (text++; *text >= '0' && *text <= '9'; text++) {
		sum += weight * (*text - '0');
		weight /= 10;
	}
	*end = text;
	return (uint64_t)(sum * (double)unit);
}

static int parse_hex(const char *text, uint64_t *ret)
{
	uint64_t value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 16);
	if (errno)
		return -errno;
	if (*end || end == text + 2)
		return -EINVAL;
	*ret = value;
	return 0;
}

int size_parse(const char *text, char suffix, uint64_t *ret)
{
	uint64_t whole, unit, fraction = 0;
	const char *rest;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	if (text[0] == '0' && (text[1] | 0x20) == 'x')
		return parse_hex(text, ret);
	errno = 0;
	whole = strtoull(text, &end, 10);
	if (errno)
		return -errno;
	rest = end;
	if (*rest == '.')
		(void)parse_fraction(end, &rest, 1);
	if (parse_suffix(rest, suffix, &unit) < 0 || (*end == '.' && unit == 1))
		return -EINVAL;
	if (*end == '.')
		fraction = parse_fraction(end, &rest, unit);
	if (__builtin_mul_overflow(whole, unit, &whole) || __builtin_add_overflow(whole, fraction, &whole))
		return -ERANGE;
	*ret = whole;
	return 0;
}
