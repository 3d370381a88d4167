/* SPDX-License-Identifier: Apache-2.0 */
/* URIs of migration streams, taken apart and put together (QMP.md 6.2). */
#include "transport/addr.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "transport/addr-local.h"
#include "transport/addr-text.h"

static const struct protocol {
	const char *name;
	enum addr_type type;
	int (*parse)(struct span rest, struct addr *a, struct merr *err);
} protocols[] = {
	{ "tcp", ADDR_TCP, addr_parse_tcp },
	{ "unix", ADDR_UNIX, addr_parse_unix },
	{ "unix-abstract", ADDR_UNIX, addr_parse_abstract },
	{ "unix-abstract-padded", ADDR_UNIX, addr_parse_abstract_padded },
	{ "vsock", ADDR_VSOCK, addr_parse_vsock },
	{ "fd", ADDR_FD, addr_parse_fd },
	{ "exec", ADDR_EXEC, addr_parse_exec },
	{ "file", ADDR_FILE, addr_parse_file },
	{ "shared", ADDR_SHARED, addr_parse_shared },
};

/* QEMU has these. */
static const char *const absent_protocols[] = { "rdma" };

#define PROTOCOLS "tcp:HOST:PORT, unix:PATH, vsock:CID:PORT, fd:NAME, exec:COMMAND, file:PATH or shared:"

static const struct protocol *find_protocol(struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (span_is(name, protocols[i].name))
			return &protocols[i];
	return NULL;
}

static int parse_as(const struct protocol *p, struct span rest, struct addr *a, struct merr *err)
{
	const char *guest = NULL;
	int r;

	a->type = p->type;
	if (addr_is_network(a))
		guest = addr_cut_guest(&rest);
	r = p->parse(rest, a, err);
	if (r < 0 || !guest)
		return r;
	a->to_guest = true;
	return addr_set_guest(a, guest, err);
}

int addr_parse_uri(const char *uri, struct addr *ret, struct merr *err)
{
	struct span rest = span_of(uri);
	struct span name = span_cut(&rest, ':');
	bool has_colon = name.len < strlen(uri);
	const struct protocol *p = has_colon ? find_protocol(name) : NULL;
	struct addr a = { 0 };
	int r;

	if (p) {
		r = parse_as(p, rest, &a, err);
		if (r < 0)
			(void)merr_prefix(err, "error parsing address '%.300s'", uri);
		else
			*ret = a;
		return r;
	}
	for (size_t i = 0; has_colon && i < ARRAY_SIZE(absent_protocols); i++)
		if (span_is(name, absent_protocols[i]))
			return merr_set(err, -ENOTSUP,
					"migration protocol '%s' is not supported: %.300s; use "
					PROTOCOLS,
					absent_protocols[i], uri);
	return merr_set(err, -EINVAL,
			"unknown migration protocol: %.300s; use " PROTOCOLS, uri);
}

bool addr_is_network(const struct addr *a)
{
	return a->type == ADDR_TCP || a->type == ADDR_UNIX || a->type == ADDR_VSOCK;
}

/* Without the guest. */
static void format_place(const struct addr *a, char *buf, size_t len)
{
	switch (a->type) {
	case ADDR_TCP:
		addr_format_tcp(a, buf, len);
		break;
	case ADDR_VSOCK:
		(void)snprintf(buf, len, "vsock:%" PRIu32 ":%" PRIu32, a->cid, a->vsock_port);
		break;
	case ADDR_SHARED:
		(void)snprintf(buf, len, "shared:%s", a->guest);
		break;
	default:
		addr_format_local(a, buf, len);
	}
}

const char *addr_format(const struct addr *a, char *buf, size_t len)
{
	size_t used;

	format_place(a, buf, len);
	used = strlen(buf);
	if (a->to_guest)
		(void)snprintf(buf + used, len - used, ",guest=%s", a->guest);
	return buf;
}

const char *addr_endpoint(const struct addr *a, char *buf, size_t len)
{
	const char *colon;

	format_place(a, buf, len);
	/* No option is part of it, and a host has no comma. */
	if (a->type == ADDR_TCP)
		buf[strcspn(buf, ",")] = '\0';
	colon = strchr(buf, ':');
	if (colon)
		memmove(buf, colon + 1, strlen(colon));
	return buf;
}
