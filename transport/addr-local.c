/* SPDX-License-Identifier: Apache-2.0 */
/* URIs of descriptors, commands and files. */
#include "transport/addr-local.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OFFSET_OPTION ",offset="
#define FILE_FORM     "expected file:PATH[,offset=SIZE], e.g. file:/var/tmp/guest,offset=4096"

static int copy_text(const char *from, size_t len, struct addr *a, const char *what,
		     struct merr *err)
{
	if (len > ADDR_TEXT_MAX)
		return merr_set(err, -EINVAL, "%s can have %d bytes, this one has %zu", what,
				ADDR_TEXT_MAX, len);
	memcpy(a->text, from, len);
	a->text[len] = '\0';
	return 0;
}

int addr_parse_fd(const char *rest, struct addr *a, struct merr *err)
{
	if (!rest[0])
		return merr_set(
			err, -EINVAL,
			"invalid fd address: the name is missing; expected fd:NAME, as getfd "
			"was told");
	return copy_text(rest, strlen(rest), a, "the name of a descriptor", err);
}

/* ---- commands ---- */

static size_t args_len(const struct addr *a)
{
	const char *p = a->text;

	for (size_t i = 0; i < a->n_args; i++)
		p += strlen(p) + 1;
	return (size_t)(p - a->text);
}

int addr_add_arg(struct addr *a, const char *arg)
{
	size_t used = args_len(a), len = strlen(arg) + 1;

	if (len > sizeof(a->text) - used)
		return -E2BIG;
	memcpy(a->text + used, arg, len);
	a->n_args++;
	return 0;
}

const char *addr_arg(const struct addr *a, size_t i)
{
	const char *p = a->text;

	while (i-- > 0)
		p += strlen(p) + 1;
	return p;
}

int addr_parse_exec(const char *rest, struct addr *a, struct merr *err)
{
	if (!rest[0])
		return merr_set(err, -EINVAL, "the command is missing; expected exec:COMMAND");
	if (addr_add_arg(a, "/bin/sh") < 0 || addr_add_arg(a, "-c") < 0 ||
	    addr_add_arg(a, rest) < 0)
		return merr_set(err, -EINVAL, "a command can have %d bytes, this one has %zu",
				ADDR_TEXT_MAX, strlen(rest));
	return 0;
}

/* ---- files ---- */

/* 2^(10 n) for the n-th of them, in either case. */
static const char suffixes[] = "BKMGTPE";

static int parse_suffix(const char *text, uint64_t *ret_unit)
{
	char upper = text[0] >= 'a' && text[0] <= 'z' ? (char)(text[0] - 'a' + 'A') : text[0];
	const char *at;

	*ret_unit = 1;
	if (!upper)
		return 0;
	at = strchr(suffixes, upper);
	if (!at || text[1])
		return -EINVAL;
	*ret_unit = UINT64_C(1) << 10 * (at - suffixes);
	return 0;
}

/* ".DIGITS" of a unit, rounded down; *END is left behind it. */
static uint64_t parse_fraction(const char *text, const char **end, uint64_t unit)
{
	double weight = 0.1, sum = 0;

	for (text++; *text >= '0' && *text <= '9'; text++, weight /= 10)
		sum += weight * (*text - '0');
	*end = text;
	return (uint64_t)(sum * (double)unit);
}

static int parse_hex(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 16);
	if (errno)
		return -errno;
	return *end || end == text + 2 ? -EINVAL : 0;
}

/* QEMU's sizes: a decimal number, with fraction and suffix if wanted, or a hexadecimal one without.
 */
static int parse_size(const char *text, uint64_t *ret)
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
	if (parse_suffix(rest, &unit) < 0 || (*end == '.' && unit == 1))
		return -EINVAL;
	if (*end == '.')
		fraction = parse_fraction(end, &rest, unit);
	if (__builtin_mul_overflow(whole, unit, &whole) ||
	    __builtin_add_overflow(whole, fraction, ret))
		return -ERANGE;
	return 0;
}

int addr_parse_file(const char *rest, struct addr *a, struct merr *err)
{
	const char *option = strstr(rest, OFFSET_OPTION);
	size_t len = option ? (size_t)(option - rest) : strlen(rest);
	int r;

	if (len == 0)
		return merr_set(err, -EINVAL, "the path of the file is missing; " FILE_FORM);
	r = copy_text(rest, len, a, "the path of a file", err);
	if (r < 0 || !option)
		return r;
	option += strlen(OFFSET_OPTION);
	r = parse_size(option, &a->offset);
	if (r == 0 && a->offset > INT64_MAX)
		r = -ERANGE;
	return r < 0 ? merr_set(err, -EINVAL, "file URI has bad offset '%s': %s; " FILE_FORM,
				option, strerror(-r))
		     : 0;
}

/* ---- back to text ---- */

/* A command that a shell was given is shown as it was given. */
static void format_exec(const struct addr *a, char *buf, size_t len)
{
	bool shell = a->n_args == 3 && strcmp(addr_arg(a, 0), "/bin/sh") == 0 &&
		     strcmp(addr_arg(a, 1), "-c") == 0;
	size_t used = (size_t)snprintf(buf, len, "exec:");

	for (size_t i = shell ? 2 : 0; i < a->n_args && used < len; i++)
		used += (size_t)snprintf(buf + used, len - used, "%s%s",
					 i > (shell ? 2 : 0) ? " " : "", addr_arg(a, i));
}

void addr_format_local(const struct addr *a, char *buf, size_t len)
{
	if (a->type == ADDR_EXEC)
		format_exec(a, buf, len);
	else if (a->type == ADDR_FD)
		(void)snprintf(buf, len, "fd:%s", a->text);
	else if (a->offset)
		(void)snprintf(buf, len, "file:%s" OFFSET_OPTION "%" PRIu64, a->text, a->offset);
	else
		(void)snprintf(buf, len, "file:%s", a->text);
}
