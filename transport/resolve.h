/* SPDX-License-Identifier: Apache-2.0 */
/* From an address to what a socket connects to or is bound to. */
#ifndef MIGD_TRANSPORT_RESOLVE_H
#define MIGD_TRANSPORT_RESOLVE_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "transport/addr.h"

/* One resolved address. */
struct sock_target {
	struct sockaddr_storage sa;
	socklen_t len;
	int family;
};
#define SOCK_TARGETS_MAX 16

/*
 * Look up A for connecting or (LISTEN) binding. May block on DNS, for as long as the system's resolver wants: for a thread
 * of its own. Returns how many targets were stored, in the order to be tried (RFC 6724; of more than SOCK_TARGETS_MAX the
 * first), or a negative errno with ERR naming host and port.
 */
int sock_resolve(const struct addr *a, bool listen, struct sock_target targets[SOCK_TARGETS_MAX],
		 struct merr *err);

#endif
