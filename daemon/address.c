/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of `migrate` and `migrate-incoming`. */
#include "daemon/address.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/*
 * Channels are turned into a URI, or into what a URI is turned into: there is one place that knows what is right, and what
 * to say about the rest.
 */

static void add_switch(struct buf *uri, const char *name, bool has, bool on)
{
	if (has)
		buf_printf(uri, ",%s=%s", name, on ? "on" : "off");
}

static void add_count(struct buf *uri, const char *name, bool has, uint32_t n)
{
	if (has)
		buf_printf(uri, ",%s=%" PRIu32, name, n);
}

static void add_text(struct buf *uri, const char *name, bool has, const char *text)
{
	if (has)
		buf_printf(uri, ",%s=%s", name, text);
}

/* Member `guest` of a socket's address, or NULL. */
static int take_guest(const char *guest, struct addr *a, struct merr *err)
{
	a->to_guest = guest;
	return guest ? addr_set_guest(a, guest, err) : 0;
}

/* Takes URI. */
static int parse_built(struct buf *uri, const char *guest, struct addr *ret, struct merr *err)
{
	int r = uri->error ? merr_set(err, uri->error, "out of memory")
			   : addr_parse_uri((const char *)uri->data, ret, err);

	buf_done(uri);
	return r < 0 ? r : take_guest(guest, ret, err);
}

/* Text that would mean something else in a URI. */
static int check_text(const char *member, const char *text, const char *without, struct merr *err)
{
	if (!text[strcspn(text, without)])
		return 0;
	return merr_set(err, -EINVAL, "'%s' cannot have any of %s in it: '%.300s'", member, without, text);
}

static int check_inet(const struct inet_socket_address *i, struct merr *err)
{
	int r = check_text("host", i->host, ",[]", err);

	if (r == 0)
		r = check_text("port", i->port, ",:", err);
	if (r == 0 && i->has_source_address)
		r = check_text("source-address", i->source_address, ",", err);
	if (r == 0 && i->has_source_interface)
		r = check_text("source-interface", i->source_interface, ",", err);
	return r;
}

static int from_inet(const char *protocol, const struct inet_socket_address *i, struct addr *ret, struct merr *err)
{
	bool v6 = strchr(i->host, ':') != NULL;
	struct buf uri = { 0 };
	int r = check_inet(i, err);

	if (r < 0)
		return r;
	buf_printf(&uri, "%s:%s%s%s:%s", protocol, v6 ? "[" : "", i->host, v6 ? "]" : "", i->port);
	add_count(&uri, "to", i->has_to, i->to);
	add_switch(&uri, "ipv4", i->has_ipv4, i->ipv4);
	add_switch(&uri, "ipv6", i->has_ipv6, i->ipv6);
	add_switch(&uri, "numeric", i->has_numeric, i->numeric);
	add_switch(&uri, "keep-alive", i->has_keep_alive, i->keep_alive);
	add_count(&uri, "keep-alive-count", i->has_keep_alive_count, i->keep_alive_count);
	add_count(&uri, "keep-alive-idle", i->has_keep_alive_idle, i->keep_alive_idle);
	add_count(&uri, "keep-alive-interval", i->has_keep_alive_interval, i->keep_alive_interval);
	add_switch(&uri, "mptcp", i->has_mptcp, i->mptcp);
	add_text(&uri, "source-address", i->has_source_address, i->source_address);
	add_text(&uri, "source-interface", i->has_source_interface, i->source_interface);
	return parse_built(&uri, i->has_guest ? i->guest : NULL, ret, err);
}

static int from_unix(const struct unix_socket_address *u, struct addr *ret, struct merr *err)
{
	bool abstract = u->has_abstract && u->abstract, tight = !u->has_tight || u->tight;

	int r = addr_set_unix(ret, u->path, abstract, !tight, err);

	return r < 0 ? r : take_guest(u->has_guest ? u->guest : NULL, ret, err);
}

static int from_vsock(const struct vsock_socket_address *v, struct addr *ret, struct merr *err)
{
	struct buf uri = { 0 };
	int r = check_text("cid", v->cid, ",:", err);

	if (r == 0)
		r = check_text("port", v->port, ",", err);
	if (r < 0)
		return r;
	buf_printf(&uri, "vsock:%s:%s", v->cid, v->port);
	return parse_built(&uri, v->has_guest ? v->guest : NULL, ret, err);
}

static int from_socket(const struct socket_address *s, struct addr *ret, struct merr *err)
{
	switch (s->type) {
	case SOCKET_ADDRESS_TYPE_INET:
		return from_inet("tcp", &s->u.inet, ret, err);
	case SOCKET_ADDRESS_TYPE_UNIX:
		return from_unix(&s->u.unix_, ret, err);
	case SOCKET_ADDRESS_TYPE_VSOCK:
		return from_vsock(&s->u.vsock, ret, err);
	case SOCKET_ADDRESS_TYPE_FD:
		return addr_set_fd(ret, s->u.fd.str, err);
	default:
		return merr_set(err, -ENOTSUP, "transport '%s' is not supported; use inet, unix, vsock or fd",
				socket_address_type_str(s->type));
	}
}

static int from_exec(const struct migration_exec_command *e, struct addr *ret, struct merr *err)
{
	struct addr a = { .type = ADDR_EXEC };

	if (e->n_args == 0 || !e->args[0][0])
		return merr_set(err, -EINVAL,
				"the command is missing; 'args' is a program's path, and its arguments");
	for (size_t i = 0; i < e->n_args; i++)
		if (addr_add_arg(&a, e->args[i]) < 0)
			return merr_set(err, -EINVAL, "a command can have %d bytes, this one has more",
					ADDR_TEXT_MAX);
	*ret = a;
	return 0;
}

static int from_shared(const struct shared_address *s, struct addr *ret, struct merr *err)
{
	struct addr a = { .type = ADDR_SHARED };
	int r = s->has_guest ? addr_set_guest(&a, s->guest, err) : 0;

	if (r == 0)
		*ret = a;
	return r;
}

static int from_address(const struct migration_address *a, struct addr *ret, struct merr *err)
{
	switch (a->transport) {
	case MIGRATION_ADDRESS_TYPE_SOCKET:
		return from_socket(&a->u.socket, ret, err);
	case MIGRATION_ADDRESS_TYPE_EXEC:
		return from_exec(&a->u.exec, ret, err);
	case MIGRATION_ADDRESS_TYPE_FILE:
		return addr_set_file(ret, a->u.file.filename, a->u.file.offset, err);
	case MIGRATION_ADDRESS_TYPE_SHARED:
		return from_shared(&a->u.shared, ret, err);
	case MIGRATION_ADDRESS_TYPE_RDMA:
		return from_inet("rdma", &a->u.rdma, ret, err);
	default:
		return merr_set(err, -ENOTSUP, "transport '%s' is not supported; use socket, exec or file",
				migration_address_type_str(a->transport));
	}
}

/* CHANNELS[I]'s. */
static int from_channel(const struct migration_channel *channels, size_t i, struct addr *ret, struct merr *err)
{
	int r = from_address(&channels[i].addr, ret, err);

	if (r < 0)
		(void)merr_prefix(err, "channels[%zu].addr", i);
	return r;
}

/* At most one a type, and a main one (QEMU crashes without). */
static int from_channels(const struct migration_channel *channels, size_t n, struct addr *ret,
			 struct merr *err)
{
	const struct migration_channel *by_type[MIGRATION_CHANNEL_TYPE__MAX] = { NULL };

	for (size_t i = 0; i < n; i++) {
		if (by_type[channels[i].channel_type])
			return merr_set(err, -EINVAL, "Channel list has more than one %s entry",
					migration_channel_type_str(channels[i].channel_type));
		by_type[channels[i].channel_type] = &channels[i];
	}
	if (!by_type[MIGRATION_CHANNEL_TYPE_MAIN])
		return merr_set(err, -EINVAL, "Channel list has no main entry");
	return from_channel(channels, (size_t)(by_type[MIGRATION_CHANNEL_TYPE_MAIN] - channels), ret, err);
}

static int check_one_given(const char *uri, size_t n, struct merr *err)
{
	if (!uri != !n)
		return 0;
	return merr_set(err, -EINVAL, "%s",
			uri ? "'uri' and 'channels' exclude each other; give one of them"
			    : "Parameter 'uri' or 'channels' is needed: where to, e.g. "
			      "tcp:HOST:PORT");
}

static void name(const struct addr *a, const char *uri, char *text)
{
	(void)addr_format(a, text, ADDRESS_TEXT_MAX);
	if (uri && strlen(uri) < ADDRESS_TEXT_MAX)
		memcpy(text, uri, strlen(uri) + 1);
}

int address_parse(const char *uri, const struct migration_channel *channels, size_t n,
		  struct addr *ret, char *text, struct merr *err)
{
	int r = check_one_given(uri, n, err);

	if (r == 0)
		r = uri ? addr_parse_uri(uri, ret, err) : from_channels(channels, n, ret, err);
	if (r == 0)
		name(ret, uri, text);
	return r;
}

int address_parse_incoming(const char *uri, const struct migration_channel *channels, size_t n,
			   struct addr *ret, char *text, struct merr *err)
{
	int r = check_one_given(uri, n, err);

	if (r == 0 && n > 1)
		r = merr_set(err, -EINVAL, "Channel list must have only one entry");
	if (r == 0)
		r = uri ? addr_parse_uri(uri, ret, err) : from_channel(channels, 0, ret, err);
	if (r == 0)
		name(ret, uri, text);
	return r;
}

int address_parse_listen(const char *uri, const struct socket_address *socket, struct addr *ret, char *text,
			 struct merr *err)
{
	int r;

	if (!uri == !socket)
		return merr_set(err, -EINVAL, "%s",
				uri ? "'uri' and 'addr' exclude each other; give one of them"
				    : "Parameter 'uri' or 'addr' is needed: where to listen, e.g. tcp:HOST:PORT");
	r = uri ? addr_parse_uri(uri, ret, err) : from_socket(socket, ret, err);
	if (r == 0)
		name(ret, uri, text);
	return r;
}

int address_parse_cpr(const struct migration_channel *channels, size_t n,
		      char ret[sizeof(((struct addr *)0)->path)], struct merr *err)
{
	const struct migration_address *a = NULL;
	struct addr checked;
	int r;

	ret[0] = '\0';
	for (size_t i = 0; i < n; i++)
		if (channels[i].channel_type == MIGRATION_CHANNEL_TYPE_CPR)
			a = &channels[i].addr;
	if (!a)
		return 0;
	if (a->transport != MIGRATION_ADDRESS_TYPE_SOCKET ||
	    a->u.socket.type != SOCKET_ADDRESS_TYPE_UNIX)
		return merr_set(err, -EINVAL,
				"the cpr channel must be a Unix socket: descriptors are passed over it");
	r = from_unix(&a->u.socket.u.unix_, &checked, err);
	if (r == 0 && checked.abstract)
		r = merr_set(err, -EINVAL,
			     "the cpr channel must be a Unix socket with a path: who may connect is decided by its permissions");
	if (r == 0)
		memcpy(ret, checked.path, sizeof(checked.path));
	return r;
}

/* Numbers as the strings that QEMU's schema wants. */
static char *number_text(uint32_t n)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%" PRIu32, n);
	return strdup(text);
}

static int describe_inet(const struct addr *a, struct inet_socket_address *ret)
{
	bool v6 = strchr(a->host, ':') != NULL;

	ret->host = strdup(a->host);
	ret->port = strdup(a->port);
	ret->has_ipv4 = ret->has_ipv6 = true;
	ret->ipv4 = !v6;
	ret->ipv6 = v6;
	ret->has_mptcp = ret->mptcp = a->mptcp;
	return ret->host && ret->port ? 0 : -ENOMEM;
}

static int describe_unix(const struct addr *a, struct unix_socket_address *ret)
{
	ret->path = strdup(a->path);
	ret->has_abstract = ret->abstract = a->abstract;
	ret->has_tight = a->abstract;
	ret->tight = !a->padded;
	return ret->path ? 0 : -ENOMEM;
}

static int describe_vsock(const struct addr *a, struct vsock_socket_address *ret)
{
	ret->cid = number_text(a->cid);
	ret->port = number_text(a->vsock_port);
	return ret->cid && ret->port ? 0 : -ENOMEM;
}

int address_describe(const struct addr *a, struct socket_address *ret)
{
	struct socket_address s = { 0 };
	int r;

	if (a->type == ADDR_UNIX) {
		s.type = SOCKET_ADDRESS_TYPE_UNIX;
		r = describe_unix(a, &s.u.unix_);
	} else if (a->type == ADDR_VSOCK) {
		s.type = SOCKET_ADDRESS_TYPE_VSOCK;
		r = describe_vsock(a, &s.u.vsock);
	} else {
		s.type = SOCKET_ADDRESS_TYPE_INET;
		r = describe_inet(a, &s.u.inet);
	}
	if (r < 0)
		socket_address_done(&s);
	else
		*ret = s;
	return r;
}
