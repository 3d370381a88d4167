/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of a migration stream: the URI forms of QEMU (QMP.md 6), checked and taken apart. */
#ifndef MIGD_TRANSPORT_ADDR_H
#define MIGD_TRANSPORT_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "base/err.h"

enum addr_type {
	ADDR_TCP = 1,
	ADDR_UNIX,
};

#define ADDR_HOST_MAX 253	/* RFC 1035: the longest domain name */
#define ADDR_PORT_MAX 31	/* a number or a service name */

struct addr {
	enum addr_type type;
	char host[ADDR_HOST_MAX + 1];	/* TCP: name, IPv4 or IPv6 without brackets; "" = any (listen), loopback (connect) */
	char port[ADDR_PORT_MAX + 1];
	uint16_t to;			/* TCP listen: try ports up to this; 0 = only `port` */
	bool ipv4, ipv6;		/* TCP: allowed families; both false = both allowed */
	bool keep_alive;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];	/* UNIX */
};

/*
 * Parse "tcp:HOST:PORT[,to=N][,ipv4][,ipv6][,keep-alive]" or "unix:PATH". -EINVAL with ERR saying what is wrong
 * and what a right one looks like; -ENOTSUP for a protocol of QEMU's that is not there (yet).
 */
int addr_parse_uri(const char *uri, struct addr *ret, struct merr *err);

/* "tcp:[::1]:4444", "unix:/run/x"; cut if BUF is too small. Returns BUF. */
const char *addr_format(const struct addr *a, char *buf, size_t len);

#endif
