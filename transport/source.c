/* SPDX-License-Identifier: Apache-2.0 */
/* Source addresses and interfaces. */
#include "transport/source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define ADDRESS_FORM "give an IPv4 or IPv6 address without brackets and port, e.g. 192.0.2.7 or fd00::7"

/* The kernel's rule for names of interfaces. */
static bool is_interface_name(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < IFNAMSIZ && !strpbrk(name, "/: \t\n\v\f\r") && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

static int family_of(const char *text)
{
	char address[SOURCE_ADDRESS_MAX + 1];
	struct in6_addr bin;
	char *scope;

	(void)snprintf(address, sizeof(address), "%s", text);
	if (inet_pton(AF_INET, address, &bin) == 1)
		return AF_INET;
	scope = strchr(address, '%');
	if (scope) {
		*scope++ = '\0';
		if (!is_interface_name(scope))
			return AF_UNSPEC;
	}
	return inet_pton(AF_INET6, address, &bin) == 1 ? AF_INET6 : AF_UNSPEC;
}

int source_set_address(struct source *s, const char *text, struct merr *err)
{
	if (strlen(text) > SOURCE_ADDRESS_MAX || (text[0] && family_of(text) == AF_UNSPEC))
		return merr_set(err, -EINVAL, "'%.100s' is no address; " ADDRESS_FORM, text);
	memcpy(s->address, text, strlen(text) + 1);
	return 0;
}

int source_set_interface(struct source *s, const char *name, struct merr *err)
{
	if (name[0] && !is_interface_name(name))
		return merr_set(err, -EINVAL,
				"'%.100s' cannot be the name of a network interface; give one of 1 to %d bytes, e.g. eth1",
				name, IFNAMSIZ - 1);
	memcpy(s->interface, name, strlen(name) + 1);
	return 0;
}

int source_family(const struct source *s)
{
	return s->address[0] ? family_of(s->address) : AF_UNSPEC;
}

static int bind_interface(int fd, const char *name, struct merr *err)
{
	int r;

	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name)) == 0)
		return 0;
	r = -errno;
	if (r == -EPERM)
		return merr_set(err, r,
				"source interface '%s': this kernel wants the capability CAP_NET_RAW for that (from 5.7 on "
				"it does not)", name);
	if (r == -ENODEV)
		return merr_set(err, r, "source interface '%s': this host has none of that name", name);
	return merr_set_errno(err, r, "source interface '%s'", name);
}

static int bind_address(int fd, const char *address, struct merr *err)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM }, *list;
	int r, on = 1;

	/* Numeric: asks nobody. It fails for a scope that is no interface of this host. */
	r = getaddrinfo(address, NULL, &hints, &list);
	if (r != 0)
		return merr_set(err, -EADDRNOTAVAIL, "source address '%s': %s", address, gai_strerror(r));
	/* The port is chosen when the peer's is known: other connections from here may share it. A kernel without goes on. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	r = bind(fd, list->ai_addr, list->ai_addrlen) < 0 ? -errno : 0;
	freeaddrinfo(list);
	if (r == -EADDRNOTAVAIL)
		return merr_set(err, r, "source address '%s': no interface of this host has it", address);
	return r < 0 ? merr_set_errno(err, r, "source address '%s'", address) : 0;
}

int source_bind(int fd, const struct source *s, struct merr *err)
{
	int r = 0;

	if (s->interface[0])
		r = bind_interface(fd, s->interface, err);
	if (r == 0 && s->address[0])
		r = bind_address(fd, s->address, err);
	return r;
}
