/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of `migrate` and `migrate-incoming`: a URI, or channels (QMP.md 2.1 and 6). */
#ifndef MIGD_DAEMON_ADDRESS_H
#define MIGD_DAEMON_ADDRESS_H

#include "base/err.h"
#include "schema/types.h"
#include "transport/addr.h"

struct guest;
struct qmp_call;

/* Room for any address as a URI. */
#define ADDRESS_TEXT_MAX ADDR_FORMATTED_MAX

/*
 * Exactly one of URI and CHANNELS (N of them) has to be there. *RET is checked, TEXT
 * (ADDRESS_TEXT_MAX bytes) is what to call it: the URI itself, if it fits.
 */
int address_parse(const char *uri, const struct migration_channel *channels, size_t n,
		  struct addr *ret, char *text, struct merr *err);

/* The same for a destination: CHANNELS has one entry, whatever it is for. */
int address_parse_incoming(const char *uri, const struct migration_channel *channels, size_t n,
			   struct addr *ret, char *text, struct merr *err);

/* A port to listen on: exactly one of URI and SOCKET has to be there. *RET and TEXT as above. */
int address_parse_listen(const char *uri, const struct socket_address *socket, struct addr *ret, char *text,
			 struct merr *err);

/* The path of CHANNELS' `cpr` entry, which must be a Unix socket, to RET; "": there is none. -EINVAL. */
int address_parse_cpr(const struct migration_channel *channels, size_t n,
		      char ret[sizeof(((struct addr *)0)->path)], struct merr *err);

/* Whether A is for migrate, or (INCOMING) for migrate-incoming. -EINVAL. */
int address_check_direction(const struct addr *a, bool incoming, struct merr *err);

/* Whether the kind of A is allowed, and fits G's capabilities and parameters (QMP.md 6.5). -EPERM, -EINVAL. */
int address_check(const struct guest *g, const struct addr *a, struct merr *err);

/*
 * Whether CALL's client may name A: files that migd is to open by their names, and commands that it is to run, take class
 * privileged. Descriptors that were passed, also /dev/fdset, do not. -EPERM.
 */
int address_check_access(const struct qmp_call *call, const struct addr *a, struct merr *err);

/* As query-migrate's socket-address shows it; free with socket_address_done(). -ENOMEM. */
int address_describe(const struct addr *a, struct socket_address *ret);

#endif
