/* SPDX-License-Identifier: Apache-2.0 */
/* URIs of migration streams, taken apart and put together (QMP.md 6.2). */
#include "transport/addr.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "transport/addr-local.h"
#include "transport/greeting.h"

#define TCP_FORM                                                      \
	"expected tcp:HOST:PORT[,to=PORT][,ipv4][,ipv6][,numeric][,keep-alive][,guest=NAME], " \
	"e.g. tcp:[::1]:4444"
#define PORT_NUMBER_MAX 65535

/* Text that need not end with NUL. */
struct span {
	const char *p;
	size_t len;
};

static struct span span_of(const char *text)
{
	return (struct span){ text, strlen(text) };
}

static bool span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && memcmp(s.p, word, s.len) == 0;
}

/* The part of *S before the first C (all of it if there is none); *S is left with what follows. */
static struct span span_cut(struct span *s, char c)
{
	const char *at = memchr(s->p, c, s->len);
	struct span head = { s->p, at ? (size_t)(at - s->p) : s->len };
	size_t used = head.len + (at ? 1 : 0);

	s->p += used;
	s->len -= used;
	return head;
}

static int span_copy(struct span s, char *ret, size_t cap)
{
	if (s.len >= cap)
		return -ENAMETOOLONG;
	memcpy(ret, s.p, s.len);
	ret[s.len] = '\0';
	return 0;
}

/* Digits alone, and a number up to MAX. */
static int parse_number(struct span s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.len == 0 || s.len > 10)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EINVAL;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	if (v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int parse_port_number(struct span s, uint16_t *ret)
{
	uint64_t v;

	if (s.len > 5 || parse_number(s, PORT_NUMBER_MAX, &v) < 0)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

/* "" (the option alone), "on" and "off". */
static int parse_switch(struct span value, bool has_value, bool *ret)
{
	if (!has_value || span_is(value, "on"))
		*ret = true;
	else if (span_is(value, "off"))
		*ret = false;
	else
		return -EINVAL;
	return 0;
}

enum option_kind {
	OPTION_SWITCH = 1,
	OPTION_PORT,
	OPTION_COUNT,
	OPTION_ABSENT, /* QEMU's, not here */
};

static const struct tcp_option {
	const char *name;
	enum option_kind kind;
	size_t offset; /* in struct addr */
} tcp_options[] = {
	{ "to", OPTION_PORT, offsetof(struct addr, to) },
	{ "ipv4", OPTION_SWITCH, offsetof(struct addr, ipv4) },
	{ "ipv6", OPTION_SWITCH, offsetof(struct addr, ipv6) },
	{ "keep-alive", OPTION_SWITCH, offsetof(struct addr, keep_alive) },
	{ "keep-alive-count", OPTION_COUNT, offsetof(struct addr, keep_alive_count) },
	{ "keep-alive-idle", OPTION_COUNT, offsetof(struct addr, keep_alive_idle) },
	{ "keep-alive-interval", OPTION_COUNT, offsetof(struct addr, keep_alive_interval) },
	{ "numeric", OPTION_SWITCH, offsetof(struct addr, numeric) },
	{ "mptcp", OPTION_ABSENT, 0 },
};

static const struct tcp_option *find_option(struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tcp_options); i++)
		if (span_is(name, tcp_options[i].name))
			return &tcp_options[i];
	return NULL;
}

static int parse_tcp_option(struct span text, struct addr *a, struct merr *err)
{
	bool has_value = memchr(text.p, '=', text.len) != NULL;
	struct span value = text;
	struct span name = span_cut(&value, '=');
	const struct tcp_option *o = find_option(name);
	uint64_t number;
	char *member;

	if (!o)
		return merr_set(err, -EINVAL, "unknown option '%.*s'; " TCP_FORM, (int)text.len,
				text.p);
	member = (char *)a + o->offset;
	switch (o->kind) {
	case OPTION_ABSENT:
		return merr_set(err, -ENOTSUP, "option '%s' is not supported; leave it out",
				o->name);
	case OPTION_PORT:
		if (parse_port_number(value, (uint16_t *)(void *)member) == 0)
			return 0;
		return merr_set(err, -EINVAL,
				"option '%s' expects a port number from 0 to 65535, not '%.*s'",
				o->name, (int)value.len, value.p);
	case OPTION_COUNT:
		if (parse_number(value, UINT32_MAX, &number) < 0)
			return merr_set(err, -EINVAL,
					"option '%s' expects a number from 0 to %u, not '%.*s'",
					o->name, UINT32_MAX, (int)value.len, value.p);
		*(uint32_t *)(void *)member = (uint32_t)number;
		return 0;
	case OPTION_SWITCH:
		if (parse_switch(value, has_value, (bool *)member) == 0)
			return 0;
		return merr_set(err, -EINVAL, "option '%s' expects 'on' or 'off', not '%.*s'",
				o->name, (int)value.len, value.p);
	}
	return -EINVAL;
}

/* HOST of HOST:PORT, brackets taken off; *REST is left behind the colon. */
static int parse_host(struct span *rest, struct addr *a, struct merr *err)
{
	struct span host;

	if (rest->len > 0 && rest->p[0] == '[') {
		rest->p++;
		rest->len--;
		host = span_cut(rest, ']');
		if (rest->len == 0 || rest->p[0] != ':')
			return merr_set(err, -EINVAL,
					"']:PORT' is missing after the IPv6 address; " TCP_FORM);
		(void)span_cut(rest, ':');
	} else {
		if (!memchr(rest->p, ':', rest->len))
			return merr_set(err, -EINVAL, "the port is missing; " TCP_FORM);
		host = span_cut(rest, ':');
	}
	if (span_copy(host, a->host, sizeof(a->host)) < 0)
		return merr_set(err, -EINVAL, "the host name is longer than %d bytes",
				ADDR_HOST_MAX);
	return 0;
}

/* RFC 6335, 5.1: letters, digits and hyphens, at least one letter, no hyphen first. */
static bool is_service_name(const char *s)
{
	bool letter = false;

	if (*s == '-')
		return false;
	for (; *s; s++) {
		bool alpha = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');

		if (!alpha && *s != '-' && (*s < '0' || *s > '9'))
			return false;
		letter |= alpha;
	}
	return letter;
}

static int check_port_range(const struct addr *a, struct merr *err)
{
	uint16_t port;

	if (parse_port_number(span_of(a->port), &port) < 0) {
		if (!is_service_name(a->port))
			return merr_set(err, -EINVAL,
					"port '%s' is neither a number from 0 to 65535 nor a "
					"service's name",
					a->port);
		return a->to ? merr_set(err, -EINVAL, "option 'to' needs a numeric port, not '%s'",
					a->port)
			     : 0;
	}
	if (a->to && a->to < port)
		return merr_set(err, -EINVAL, "the range 'to=%u' ends before port %u", a->to, port);
	return 0;
}

static int parse_tcp(struct span rest, struct addr *a, struct merr *err)
{
	struct span hostport, port;
	int r;

	/* No comma can be in a host, so options begin at the first. */
	bool has_options = memchr(rest.p, ',', rest.len) != NULL;

	hostport = span_cut(&rest, ',');
	r = parse_host(&hostport, a, err);
	if (r < 0)
		return r;
	port = hostport;
	if (port.len == 0)
		return merr_set(err, -EINVAL, "the port is missing; " TCP_FORM);
	if (memchr(port.p, ':', port.len))
		return merr_set(err, -EINVAL,
				"more than one ':'; an IPv6 address goes in brackets: " TCP_FORM);
	if (span_copy(port, a->port, sizeof(a->port)) < 0)
		return merr_set(err, -EINVAL, "the port is longer than %d bytes", ADDR_PORT_MAX);
	while (has_options) {
		has_options = memchr(rest.p, ',', rest.len) != NULL;
		r = parse_tcp_option(span_cut(&rest, ','), a, err);
		if (r < 0)
			return r;
	}
	return check_port_range(a, err);
}

static int parse_unix(struct span rest, struct addr *a, struct merr *err)
{
	if (rest.len == 0)
		return merr_set(err, -EINVAL,
				"the path of the Unix socket is missing; expected unix:PATH");
	if (span_copy(rest, a->path, sizeof(a->path)) < 0)
		return merr_set(err, -EINVAL,
				"the path of a Unix socket can have %zu bytes, this one has %zu",
				sizeof(a->path) - 1, rest.len);
	return 0;
}

int addr_set_guest(struct addr *a, const char *name, struct merr *err)
{
	_Static_assert(ADDR_GUEST_MAX == GREETING_NAME_MAX, "an address can name every guest");

	if (name[0] && !greeting_is_name(name))
		return merr_set(err, -EINVAL,
				"the name of a guest has 1 to %d bytes and no control characters; "
				"it comes last: everything behind 'guest=' is the name",
				ADDR_GUEST_MAX);
	(void)span_copy(span_of(name), a->guest, sizeof(a->guest));
	return 0;
}

/* ",guest" or ",guest=NAME" at the end of REST, which loses it. REST ends with NUL. */
static int cut_guest(struct span *rest, struct addr *a, struct merr *err)
{
	static const char option[] = ",guest";
	const char *at = strstr(rest->p, option);

	while (at && at[sizeof(option) - 1] && at[sizeof(option) - 1] != '=')
		at = strstr(at + 1, option);
	if (!at)
		return 0;
	rest->len = (size_t)(at - rest->p);
	a->to_guest = true;
	at += sizeof(option) - 1;
	return addr_set_guest(a, *at ? at + 1 : at, err);
}

static int parse_shared(const char *rest, struct addr *a, struct merr *err)
{
	return addr_set_guest(a, rest, err);
}

static const struct protocol {
	const char *name;
	enum addr_type type;
	int (*parse)(struct span rest, struct addr *a, struct merr *err);
	int (*parse_text)(const char *rest, struct addr *a, struct merr *err);
} protocols[] = {
	{ "tcp", ADDR_TCP, parse_tcp, NULL },
	{ "unix", ADDR_UNIX, parse_unix, NULL },
	{ "fd", ADDR_FD, NULL, addr_parse_fd },
	{ "exec", ADDR_EXEC, NULL, addr_parse_exec },
	{ "file", ADDR_FILE, NULL, addr_parse_file },
	{ "shared", ADDR_SHARED, NULL, parse_shared },
};

/* QEMU has these. */
static const char *const absent_protocols[] = { "vsock", "rdma" };

#define PROTOCOLS "tcp:HOST:PORT, unix:PATH, fd:NAME, exec:COMMAND, file:PATH or shared:"

int addr_parse_uri(const char *uri, struct addr *ret, struct merr *err)
{
	struct addr a = { 0 };
	struct span rest = span_of(uri);
	struct span name = span_cut(&rest, ':');
	bool has_colon = name.len < strlen(uri);
	int r;

	for (size_t i = 0; has_colon && i < ARRAY_SIZE(protocols); i++) {
		if (!span_is(name, protocols[i].name))
			continue;
		a.type = protocols[i].type;
		r = protocols[i].parse ? cut_guest(&rest, &a, err) : 0;
		if (r == 0)
			r = protocols[i].parse ? protocols[i].parse(rest, &a, err)
					       : protocols[i].parse_text(rest.p, &a, err);
		if (r < 0) {
			(void)merr_prefix(err, "error parsing address '%s'", uri);
			return r;
		}
		*ret = a;
		return 0;
	}
	for (size_t i = 0; has_colon && i < ARRAY_SIZE(absent_protocols); i++)
		if (span_is(name, absent_protocols[i]))
			return merr_set(err, -ENOTSUP,
					"migration protocol '%s' is not supported: %s; use "
					PROTOCOLS,
					absent_protocols[i], uri);
	return merr_set(err, -EINVAL,
			"unknown migration protocol: %s; use " PROTOCOLS, uri);
}

bool addr_is_network(const struct addr *a)
{
	return a->type == ADDR_TCP || a->type == ADDR_UNIX;
}

const char *addr_format(const struct addr *a, char *buf, size_t len)
{
	bool v6 = strchr(a->host, ':') != NULL;

	switch (a->type) {
	case ADDR_TCP:
		(void)snprintf(buf, len, "tcp:%s%s%s:%s%s%s", v6 ? "[" : "", a->host, v6 ? "]" : "",
			       a->port, a->to_guest ? ",guest=" : "", a->guest);
		break;
	case ADDR_UNIX:
		(void)snprintf(buf, len, "unix:%s%s%s", a->path, a->to_guest ? ",guest=" : "",
			       a->guest);
		break;
	case ADDR_SHARED:
		(void)snprintf(buf, len, "shared:%s", a->guest);
		break;
	default:
		addr_format_local(a, buf, len);
	}
	return buf;
}
