/* SPDX-License-Identifier: Apache-2.0 */
/* URIs of Unix sockets, descriptors, commands and files. */
#include "transport/addr-local.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

#define OFFSET_OPTION ",offset="
#define FILE_FORM     "expected file:PATH[,offset=SIZE], e.g. file:/var/tmp/guest,offset=4096"

static int copy_text(const char *from, size_t len, char *to, size_t cap, const char *what, struct merr *err)
{
	if (len >= cap)
		return merr_set(err, -EINVAL, "%s can have %zu bytes, this one has %zu", what, cap - 1, len);
	memcpy(to, from, len);
	to[len] = '\0';
	return 0;
}

/* ---- Unix sockets ---- */

static int set_unix(struct addr *ret, struct span path, bool abstract, bool padded, struct merr *err)
{
	struct addr a = { .type = ADDR_UNIX, .abstract = abstract, .padded = abstract && padded };
	int r;

	if (path.len == 0)
		return merr_set(err, -EINVAL,
				abstract ? "the name of the abstract Unix socket is missing; expected unix-abstract:NAME"
					 : "the path of the Unix socket is missing; expected unix:PATH");
	r = copy_text(path.p, path.len, a.path, sizeof(a.path),
		      abstract ? "the name of an abstract Unix socket" : "the path of a Unix socket", err);
	if (r == 0)
		*ret = a;
	return r;
}

int addr_set_unix(struct addr *ret, const char *path, bool abstract, bool padded, struct merr *err)
{
	return set_unix(ret, span_of(path), abstract, padded, err);
}

int addr_parse_unix(struct span rest, struct addr *a, struct merr *err)
{
	return set_unix(a, rest, false, false, err);
}

int addr_parse_abstract(struct span rest, struct addr *a, struct merr *err)
{
	return set_unix(a, rest, true, false, err);
}

int addr_parse_abstract_padded(struct span rest, struct addr *a, struct merr *err)
{
	return set_unix(a, rest, true, true, err);
}

/* ---- descriptors ---- */

int addr_set_fd(struct addr *ret, const char *name, struct merr *err)
{
	struct addr a = { .type = ADDR_FD };
	int r;

	if (!name[0])
		return merr_set(
			err, -EINVAL,
			"invalid fd address: the name is missing; expected fd:NAME, as getfd "
			"was told");
	r = copy_text(name, strlen(name), a.text, sizeof(a.text), "the name of a descriptor", err);
	if (r == 0)
		*ret = a;
	return r;
}

int addr_parse_fd(struct span rest, struct addr *a, struct merr *err)
{
	return addr_set_fd(a, rest.p, err);
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

int addr_parse_exec(struct span rest, struct addr *a, struct merr *err)
{
	if (rest.len == 0)
		return merr_set(err, -EINVAL, "the command is missing; expected exec:COMMAND");
	if (addr_add_arg(a, "/bin/sh") < 0 || addr_add_arg(a, "-c") < 0 ||
	    addr_add_arg(a, rest.p) < 0)
		return merr_set(err, -EINVAL, "a command can have %zu bytes, this one has %zu",
				ADDR_TEXT_MAX - sizeof("/bin/sh") - sizeof("-c"), rest.len);
	return 0;
}

/* ---- files ---- */

static int set_file(struct addr *ret, const char *path, size_t len, uint64_t offset, struct merr *err)
{
	struct addr a = { .type = ADDR_FILE, .offset = offset };
	int r;

	if (len == 0)
		return merr_set(err, -EINVAL, "the path of the file is missing; " FILE_FORM);
	r = copy_text(path, len, a.text, sizeof(a.text), "the path of a file", err);
	if (r == 0 && offset > INT64_MAX)
		r = merr_set(err, -EINVAL, "bad offset %" PRIu64 ": %s; " FILE_FORM, offset, strerror(ERANGE));
	if (r == 0)
		*ret = a;
	return r;
}

int addr_set_file(struct addr *ret, const char *path, uint64_t offset, struct merr *err)
{
	return set_file(ret, path, strlen(path), offset, err);
}

int addr_parse_file(struct span rest, struct addr *a, struct merr *err)
{
	const char *option = strstr(rest.p, OFFSET_OPTION);
	size_t len = option ? (size_t)(option - rest.p) : rest.len;
	uint64_t offset = 0;
	int r = 0;

	if (option) {
		option += strlen(OFFSET_OPTION);
		r = size_parse(option, 'B', &offset);
	}
	if (r < 0)
		return merr_set(err, -EINVAL, "bad offset '%s': %s; " FILE_FORM, option,
				strerror(-r));
	return set_file(a, rest.p, len, offset, err);
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
	if (a->type == ADDR_UNIX)
		(void)snprintf(buf, len, "unix%s%s:%s", a->abstract ? "-abstract" : "", a->padded ? "-padded" : "",
			       a->path);
	else if (a->type == ADDR_EXEC)
		format_exec(a, buf, len);
	else if (a->type == ADDR_FD)
		(void)snprintf(buf, len, "fd:%s", a->text);
	else if (a->offset)
		(void)snprintf(buf, len, "file:%s" OFFSET_OPTION "%" PRIu64, a->text, a->offset);
	else
		(void)snprintf(buf, len, "file:%s", a->text);
}
