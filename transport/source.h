/* SPDX-License-Identifier: Apache-2.0 */
/* Where a connection comes from: the address and the network interface that a socket is bound to before it connects. */
#ifndef MIGD_TRANSPORT_SOURCE_H
#define MIGD_TRANSPORT_SOURCE_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

#include "base/err.h"

/* "fe80::1%eth0" */
#define SOURCE_ADDRESS_MAX (INET6_ADDRSTRLEN + IFNAMSIZ)

/* "": the system chooses. */
struct source {
	char address[SOURCE_ADDRESS_MAX + 1]; /* IPv4 or IPv6, with a scope if it needs one */
	char interface[IFNAMSIZ];
};

static inline bool source_is_set(const struct source *s)
{
	return s->address[0] || s->interface[0];
}

/* TEXT ("" as well), checked. Whether this host has such an address or interface shows when it is used. -EINVAL. */
int source_set_address(struct source *s, const char *text, struct merr *err);
int source_set_interface(struct source *s, const char *name, struct merr *err);

/* AF_INET or AF_INET6, or AF_UNSPEC if S has no address. */
int source_family(const struct source *s);

/*
 * Bind the TCP socket FD to S. -EADDRNOTAVAIL, -ENODEV: there is no such address or interface. -EPERM: a kernel before 5.7
 * wants CAP_NET_RAW for an interface.
 */
int source_bind(int fd, const struct source *s, struct merr *err);

#endif
