/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of `migrate` and `migrate-incoming`. */
#include "daemon/address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int copy_text(const char *from, char *to, size_t cap, const char *what, struct merr *err)
{
	if (strlen(from) >= cap)
		return merr_set(err, -EINVAL, "Parameter '%s' expects at most %zu bytes", what,
				cap - 1);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

/* By way of the URI, so that there is one place that knows what is right. */
static int parse_inet(const struct inet_socket_address *i, struct addr *ret, struct merr *err)
{
	char text[ADDR_HOST_MAX + ADDR_PORT_MAX + 64];
	bool v6 = strchr(i->host, ':') != NULL;
	struct addr checked = { 0 };
	int r;

	r = copy_text(i->host, checked.host, sizeof(checked.host), "channels[0].addr.host", err);
	if (r == 0)
		r = copy_text(i->port, checked.port, sizeof(checked.port), "channels[0].addr.port",
			      err);
	if (r < 0)
		return r;
	if (strpbrk(i->host, ",[]") || strpbrk(i->port, ",:"))
		return merr_set(
			err, -EINVAL,
			"Parameter 'channels[0].addr' expects a host and a port, not '%s' and '%s'",
			i->host, i->port);
	(void)snprintf(text, sizeof(text), "tcp:%s%s%s:%s", v6 ? "[" : "", i->host, v6 ? "]" : "",
		       i->port);
	if (i->has_to)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), ",to=%u", i->to);
	return addr_parse_uri(text, ret, err);
}

/* Member `guest` of a socket's address. */
static int take_guest(bool has_guest, const char *guest, struct addr *a, struct merr *err)
{
	a->to_guest = has_guest;
	return has_guest ? addr_set_guest(a, guest, err) : 0;
}

static int from_inet(const struct inet_socket_address *i, struct addr *ret, struct merr *err)
{
	int r;

	if (i->has_mptcp && i->mptcp)
		return merr_set(err, -ENOTSUP, "Multipath TCP is not supported; leave it out");
	r = parse_inet(i, ret, err);
	if (r < 0)
		return r;
	ret->ipv4 = i->has_ipv4 && i->ipv4;
	ret->ipv6 = i->has_ipv6 && i->ipv6;
	/* "Not this one" leaves the other. */
	if (i->has_ipv4 && !i->ipv4 && !i->has_ipv6)
		ret->ipv6 = true;
	if (i->has_ipv6 && !i->ipv6 && !i->has_ipv4)
		ret->ipv4 = true;
	ret->numeric = i->has_numeric && i->numeric;
	ret->keep_alive = i->has_keep_alive && i->keep_alive;
	ret->keep_alive_count = i->keep_alive_count;
	ret->keep_alive_idle = i->keep_alive_idle;
	ret->keep_alive_interval = i->keep_alive_interval;
	return take_guest(i->has_guest, i->guest, ret, err);
}

static int from_unix(const struct unix_socket_address *u, struct addr *ret, struct merr *err)
{
	struct addr a = { .type = ADDR_UNIX };
	int r;

	if (u->has_abstract && u->abstract)
		return merr_set(err, -ENOTSUP,
				"abstract Unix sockets are not supported; use a path");
	if (!u->path[0])
		return merr_set(err, -EINVAL, "Parameter 'channels[0].addr.path' expects a path");
	r = copy_text(u->path, a.path, sizeof(a.path), "channels[0].addr.path", err);
	if (r == 0)
		r = take_guest(u->has_guest, u->guest, &a, err);
	if (r == 0)
		*ret = a;
	return r;
}

static int from_fd(const struct fd_socket_address *f, struct addr *ret, struct merr *err)
{
	struct addr a = { .type = ADDR_FD };
	int r;

	if (!f->str[0])
		return merr_set(err, -EINVAL,
				"Parameter 'channels[0].addr.str' expects the name of a descriptor");
	r = copy_text(f->str, a.text, sizeof(a.text), "channels[0].addr.str", err);
	if (r == 0)
		*ret = a;
	return r;
}

static int from_socket(const struct socket_address *s, struct addr *ret, struct merr *err)
{
	switch (s->type) {
	case SOCKET_ADDRESS_TYPE_INET:
		return from_inet(&s->u.inet, ret, err);
	case SOCKET_ADDRESS_TYPE_UNIX:
		return from_unix(&s->u.unix_, ret, err);
	case SOCKET_ADDRESS_TYPE_FD:
		return from_fd(&s->u.fd, ret, err);
	default:
		return merr_set(err, -ENOTSUP,
				"migration transport '%s' is not supported; use inet, unix or fd",
				socket_address_type_str(s->type));
	}
}

static int from_exec(const struct migration_exec_command *e, struct addr *ret, struct merr *err)
{
	struct addr a = { .type = ADDR_EXEC };

	if (e->n_args == 0 || !e->args[0][0])
		return merr_set(err, -EINVAL,
				"Parameter 'channels[0].addr.args' expects a program's path, and its "
				"arguments");
	for (size_t i = 0; i < e->n_args; i++)
		if (addr_add_arg(&a, e->args[i]) < 0)
			return merr_set(err, -EINVAL,
					"Parameter 'channels[0].addr.args' expects at most %d bytes",
					ADDR_TEXT_MAX);
	*ret = a;
	return 0;
}

static int from_file(const struct file_migration_args *f, struct addr *ret, struct merr *err)
{
	struct addr a = { .type = ADDR_FILE, .offset = f->offset };
	int r;

	if (!f->filename[0])
		return merr_set(err, -EINVAL,
				"Parameter 'channels[0].addr.filename' expects a path");
	if (f->offset > INT64_MAX)
		return merr_set(err, -EINVAL,
				"Parameter 'channels[0].addr.offset' expects at most %lld",
				(long long)INT64_MAX);
	r = copy_text(f->filename, a.text, sizeof(a.text), "channels[0].addr.filename", err);
	if (r == 0)
		*ret = a;
	return r;
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
		return from_file(&a->u.file, ret, err);
	case MIGRATION_ADDRESS_TYPE_SHARED:
		return from_shared(&a->u.shared, ret, err);
	default:
		return merr_set(err, -ENOTSUP,
				"migration transport '%s' is not supported; use socket, exec or file",
				migration_address_type_str(a->transport));
	}
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
	return from_address(&by_type[MIGRATION_CHANNEL_TYPE_MAIN]->addr, ret, err);
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
		r = uri ? addr_parse_uri(uri, ret, err) : from_address(&channels[0].addr, ret, err);
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
	if (r == 0)
		memcpy(ret, checked.path, sizeof(checked.path));
	return r;
}

int address_describe(const struct addr *a, struct socket_address *ret)
{
	struct socket_address s = { 0 };

	if (a->type == ADDR_UNIX) {
		s.type = SOCKET_ADDRESS_TYPE_UNIX;
		s.u.unix_.path = strdup(a->path);
		if (!s.u.unix_.path)
			return -ENOMEM;
	} else {
		s.type = SOCKET_ADDRESS_TYPE_INET;
		s.u.inet.host = strdup(a->host);
		s.u.inet.port = strdup(a->port);
		s.u.inet.has_ipv4 = s.u.inet.ipv4 = a->ipv4;
		s.u.inet.has_ipv6 = s.u.inet.ipv6 = a->ipv6;
		if (!s.u.inet.host || !s.u.inet.port) {
			free(s.u.inet.host);
			free(s.u.inet.port);
			return -ENOMEM;
		}
	}
	*ret = s;
	return 0;
}
