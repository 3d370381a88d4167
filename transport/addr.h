/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of a migration stream: the URI forms of QEMU (QMP.md 6), checked and taken apart. */
#ifndef MIGD_TRANSPORT_ADDR_H
#define MIGD_TRANSPORT_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "base/err.h"
#include "transport/source.h"

enum addr_type {
	ADDR_TCP = 1,
	ADDR_UNIX,
	ADDR_VSOCK,	/* between a host and its guests */
	ADDR_FD,	/* a descriptor that a client passed */
	ADDR_EXEC,	/* a command's standard input or output */
	ADDR_FILE,
	ADDR_SHARED,	/* incoming: the host's shared ports (transport/greeting.h) */
};

#define ADDR_HOST_MAX 253	/* RFC 1035: the longest domain name */
#define ADDR_PORT_MAX 31	/* a number or a service name */
#define ADDR_GUEST_MAX 127	/* of a guest's name */
#define ADDR_TEXT_MAX 4095	/* PATH_MAX - 1; a command as well has to do with that */

struct addr {
	enum addr_type type;
	char host[ADDR_HOST_MAX + 1];	/* TCP: name, IPv4 or IPv6 without brackets; "" = any (listen), loopback (connect) */
	char port[ADDR_PORT_MAX + 1];
	uint16_t to;			/* TCP listen: try ports up to this; 0 = only `port` */
	bool ipv4, ipv6;		/* TCP: allowed families; both false = both allowed */
	bool numeric;			/* TCP: look up no names */
	bool mptcp;			/* TCP: Multipath TCP */
	bool keep_alive;
	uint32_t keep_alive_count, keep_alive_idle, keep_alive_interval;	/* probes, s, s; 0: the system's */
	struct source source;		/* TCP connect */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];	/* UNIX */
	bool abstract;			/* UNIX: `path` is a name in the abstract namespace */
	bool padded;			/* with NULs to the full length (QEMU's tight=off) */
	uint32_t cid, vsock_port;	/* VSOCK; listen: VMADDR_CID_ANY and VMADDR_PORT_ANY are any */
	bool to_guest;			/* TCP, UNIX, VSOCK: a shared port: every connection says which guest it is for */
	char guest[ADDR_GUEST_MAX + 1];	/* that guest; SHARED: the guest is expected under this name; "": its own */
	char text[ADDR_TEXT_MAX + 1];	/* FD: name or number; FILE: path; EXEC: the arguments, each ended by NUL */
	size_t n_args;			/* EXEC: arguments in `text`, at least one */
	uint64_t offset;		/* FILE: bytes before the stream */
};

/*
 * Parse "tcp:HOST:PORT[,OPTION]...", "unix:PATH", "unix-abstract:NAME", "unix-abstract-padded:NAME", "vsock:CID:PORT",
 * each of these with ",guest[=NAME]" at the end, "fd:NAME", "exec:COMMAND", "file:PATH[,offset=SIZE]" or "shared:[NAME]".
 * All that follows "guest=" is the name. -EINVAL with ERR saying what is wrong and what a right one looks like; -ENOTSUP for a
 * protocol of QEMU's that is not there.
 */
int addr_parse_uri(const char *uri, struct addr *ret, struct merr *err);

/* The name of a guest, for a port that several share. -EINVAL with ERR. */
int addr_set_guest(struct addr *a, const char *name, struct merr *err);

/* The same checks for what has been taken apart already. -EINVAL with ERR; *RET is whole or untouched. */
int addr_set_unix(struct addr *ret, const char *path, bool abstract, bool padded, struct merr *err);
int addr_set_fd(struct addr *ret, const char *name, struct merr *err);
int addr_set_file(struct addr *ret, const char *path, uint64_t offset, struct merr *err);

/* True for those that can be connected to, also again, and listened on: TCP, UNIX and VSOCK. */
bool addr_is_network(const struct addr *a);

/* Append an argument to an EXEC address. -E2BIG: `text` is full. */
int addr_add_arg(struct addr *a, const char *arg);
/* Argument I of an EXEC address. */
const char *addr_arg(const struct addr *a, size_t i);

/* Room for any address that addr_format() writes. */
#define ADDR_FORMATTED_MAX (ADDR_TEXT_MAX + 64)
/*
 * The URI that is parsed to A, e.g. "tcp:[::1]:4444,ipv6"; but the arguments of a command that is not the shell's are
 * joined by spaces. Cut if BUF is too small. Returns BUF.
 */
const char *addr_format(const struct addr *a, char *buf, size_t len);
/* What error texts quote: "HOST:PORT", "PATH", "CID:PORT". Returns BUF. */
const char *addr_endpoint(const struct addr *a, char *buf, size_t len);

#endif
