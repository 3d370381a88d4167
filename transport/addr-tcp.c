/* SPDX-License-Identifier: Apache-2.0 */
/* URIs of TCP addresses, with their options, taken apart and put together (QMP.md 6.1 and 6.2). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "transport/addr-text.h"

#define TCP_FORM        "expected tcp:HOST:PORT[,OPTION]..., e.g. tcp:[::1]:4444"
#define PORT_NUMBER_MAX 65535

static int parse_port_number(struct span s, uint16_t *ret)
{
	uint64_t v;

	if (s.len > 5 || span_number(s, PORT_NUMBER_MAX, &v) < 0)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

/* ---- options ---- */

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
	OPTION_SOURCE, /* text, which its own setter checks */
};

static const struct tcp_option {
	const char *name;
	enum option_kind kind;
	size_t offset; /* in struct addr */
	int (*set)(struct source *s, const char *text, struct merr *err);
} tcp_options[] = {
	{ "to", OPTION_PORT, offsetof(struct addr, to), NULL },
	{ "ipv4", OPTION_SWITCH, offsetof(struct addr, ipv4), NULL },
	{ "ipv6", OPTION_SWITCH, offsetof(struct addr, ipv6), NULL },
	{ "keep-alive", OPTION_SWITCH, offsetof(struct addr, keep_alive), NULL },
	{ "keep-alive-count", OPTION_COUNT, offsetof(struct addr, keep_alive_count), NULL },
	{ "keep-alive-idle", OPTION_COUNT, offsetof(struct addr, keep_alive_idle), NULL },
	{ "keep-alive-interval", OPTION_COUNT, offsetof(struct addr, keep_alive_interval), NULL },
	{ "numeric", OPTION_SWITCH, offsetof(struct addr, numeric), NULL },
	{ "mptcp", OPTION_SWITCH, offsetof(struct addr, mptcp), NULL },
	{ "source-address", OPTION_SOURCE, offsetof(struct addr, source.address), source_set_address },
	{ "source-interface", OPTION_SOURCE, offsetof(struct addr, source.interface), source_set_interface },
};

/* Which options were there, by their place in the table. */
typedef uint32_t option_set;

static bool was_given(option_set given, size_t offset)
{
	for (size_t i = 0; i < ARRAY_SIZE(tcp_options); i++)
		if (tcp_options[i].offset == offset)
			return (given >> i & 1) != 0;
	return false;
}
#define WAS_GIVEN(given, member) was_given(given, offsetof(struct addr, member))

static const struct tcp_option *find_option(struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tcp_options); i++)
		if (span_is(name, tcp_options[i].name))
			return &tcp_options[i];
	return NULL;
}

static int parse_source(const struct tcp_option *o, struct span value, struct addr *a, struct merr *err)
{
	char text[SOURCE_ADDRESS_MAX + 2];
	int r;

	/* Cut, it is longer than any right one, and refused. */
	value.len = value.len < sizeof(text) ? value.len : sizeof(text) - 1;
	(void)span_copy(value, text, sizeof(text));
	r = o->set(&a->source, text, err);
	if (r < 0)
		(void)merr_prefix(err, "option '%s'", o->name);
	return r;
}

static int parse_value(const struct tcp_option *o, struct span value, bool has_value, struct addr *a,
		       struct merr *err)
{
	char *member = (char *)a + o->offset;
	uint64_t number;

	switch (o->kind) {
	case OPTION_PORT:
		if (parse_port_number(value, (uint16_t *)(void *)member) == 0)
			return 0;
		return merr_set(err, -EINVAL,
				"option '%s' expects a port number from 0 to 65535, not '%.*s'",
				o->name, (int)value.len, value.p);
	case OPTION_COUNT:
		if (span_number(value, UINT32_MAX, &number) < 0)
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
	case OPTION_SOURCE:
		return parse_source(o, value, a, err);
	}
	return -EINVAL;
}

static int parse_option(struct span text, struct addr *a, option_set *given, struct merr *err)
{
	bool has_value = memchr(text.p, '=', text.len) != NULL;
	struct span value = text;
	struct span name = span_cut(&value, '=');
	const struct tcp_option *o = find_option(name);
	option_set bit;

	if (!o)
		return merr_set(err, -EINVAL,
				"unknown option '%.*s'; options are to, ipv4, ipv6, numeric, mptcp, keep-alive, "
				"keep-alive-count, keep-alive-idle, keep-alive-interval, source-address, "
				"source-interface, and at the end guest", (int)text.len, text.p);
	bit = (option_set)1 << (o - tcp_options);
	if (*given & bit)
		return merr_set(err, -EINVAL, "option '%s' is given twice", o->name);
	*given |= bit;
	return parse_value(o, value, has_value, a, err);
}

/* "Not this family" leaves the other. */
static int settle_families(struct addr *a, option_set given, struct merr *err)
{
	bool no_ipv4 = WAS_GIVEN(given, ipv4) && !a->ipv4, no_ipv6 = WAS_GIVEN(given, ipv6) && !a->ipv6;

	if (no_ipv4 && no_ipv6)
		return merr_set(err, -EINVAL, "options 'ipv4=off' and 'ipv6=off' leave nothing; drop one of them");
	a->ipv4 |= no_ipv6;
	a->ipv6 |= no_ipv4;
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

static int check_port_range(const struct addr *a, option_set given, struct merr *err)
{
	bool has_to = WAS_GIVEN(given, to);
	uint16_t port;

	if (parse_port_number(span_of(a->port), &port) < 0) {
		if (!is_service_name(a->port))
			return merr_set(err, -EINVAL,
					"port '%s' is neither a number from 0 to 65535 nor a "
					"service's name",
					a->port);
		return has_to ? merr_set(err, -EINVAL, "option 'to' needs a numeric port, not '%s'",
					 a->port)
			      : 0;
	}
	if (has_to && a->to < port)
		return merr_set(err, -EINVAL, "the range 'to=%u' ends before port %u", a->to, port);
	return 0;
}

/* ---- host and port ---- */

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
		if (!memchr(host.p, ':', host.len))
			return merr_set(err, -EINVAL, "'[%.*s]' is no IPv6 address; " TCP_FORM, (int)host.len, host.p);
		(void)span_cut(rest, ':');
	} else {
		if (!memchr(rest->p, ':', rest->len))
			return merr_set(err, -EINVAL, "the port is missing; " TCP_FORM);
		host = span_cut(rest, ':');
	}
	if (span_copy(host, a->host, sizeof(a->host)) < 0)
		return merr_set(err, -EINVAL, "a host name can have %d bytes, this one has %zu", ADDR_HOST_MAX,
				host.len);
	return 0;
}

static int parse_port(struct span port, struct addr *a, struct merr *err)
{
	if (port.len == 0)
		return merr_set(err, -EINVAL, "the port is missing; " TCP_FORM);
	if (memchr(port.p, ':', port.len))
		return merr_set(err, -EINVAL,
				"more than one ':'; an IPv6 address goes in brackets: " TCP_FORM);
	if (span_copy(port, a->port, sizeof(a->port)) < 0)
		return merr_set(err, -EINVAL, "a port can have %d bytes, this one has %zu", ADDR_PORT_MAX,
				port.len);
	return 0;
}

int addr_parse_tcp(struct span rest, struct addr *a, struct merr *err)
{
	struct span hostport;
	/* No comma can be in a host, so options begin at the first. */
	bool has_options = memchr(rest.p, ',', rest.len) != NULL;
	option_set given = 0;
	int r;

	hostport = span_cut(&rest, ',');
	r = parse_host(&hostport, a, err);
	if (r == 0)
		r = parse_port(hostport, a, err);
	while (r == 0 && has_options) {
		has_options = memchr(rest.p, ',', rest.len) != NULL;
		r = parse_option(span_cut(&rest, ','), a, &given, err);
	}
	if (r == 0)
		r = settle_families(a, given, err);
	return r < 0 ? r : check_port_range(a, given, err);
}

/* ---- back to text ---- */

static void __attribute__((format(printf, 3, 4))) append(char *buf, size_t len, const char *fmt, ...)
{
	size_t used = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(buf + used, len - used, fmt, ap);
	va_end(ap);
}

static void format_option(const struct tcp_option *o, const struct addr *a, char *buf, size_t len)
{
	const char *member = (const char *)a + o->offset;
	uint32_t count;
	uint16_t port;
	bool on;

	switch (o->kind) {
	case OPTION_SWITCH:
		memcpy(&on, member, sizeof(on));
		if (on)
			append(buf, len, ",%s", o->name);
		break;
	case OPTION_PORT:
		memcpy(&port, member, sizeof(port));
		if (port)
			append(buf, len, ",%s=%u", o->name, port);
		break;
	case OPTION_COUNT:
		memcpy(&count, member, sizeof(count));
		if (count)
			append(buf, len, ",%s=%" PRIu32, o->name, count);
		break;
	case OPTION_SOURCE:
		if (member[0])
			append(buf, len, ",%s=%s", o->name, member);
		break;
	}
}

void addr_format_tcp(const struct addr *a, char *buf, size_t len)
{
	bool v6 = strchr(a->host, ':') != NULL;

	(void)snprintf(buf, len, "tcp:%s%s%s:%s", v6 ? "[" : "", a->host, v6 ? "]" : "", a->port);
	for (size_t i = 0; i < ARRAY_SIZE(tcp_options); i++)
		format_option(&tcp_options[i], a, buf, len);
}
