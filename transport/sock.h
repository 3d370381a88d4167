/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets for addresses. Nothing here blocks but sock_resolve(), which is for a thread of its own. All sockets are
 * close-on-exec and non-blocking; TCP ones have TCP_NODELAY.
 */
#ifndef MIGD_TRANSPORT_SOCK_H
#define MIGD_TRANSPORT_SOCK_H

#include <netdb.h>
#include <stddef.h>

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
 * Look up A for connecting or (LISTEN) binding; may block on DNS. Returns how many targets were stored (at most
 * SOCK_TARGETS_MAX), or a negative errno with ERR naming host and port.
 */
int sock_resolve(const struct addr *a, bool listen, struct sock_target targets[SOCK_TARGETS_MAX],
		 struct merr *err);

/*
 * Start connecting. *ret_fd is a socket that is connected, or becomes writable when it is or failed:
 * then ask sock_connect_result(). -errno if it failed at once.
 */
int sock_connect(const struct addr *a, const struct sock_target *t, int *ret_fd);
int sock_connect_result(int fd);	/* 0 or -errno */

/*
 * Bind and listen on the first target that works; a stale unix path is unlinked first (only if it is a
 * socket nobody answers on). ERR: "Failed to listen on 'HOST:PORT': ..." and what to do.
 */
int sock_listen(const struct addr *a, const struct sock_target *targets, size_t n, int *ret_fd,
		struct merr *err);

/* The address a listening socket really has (port 0 resolved), in A's form. */
int sock_local_addr(int fd, struct addr *ret);
/* The peer of a connected socket as text, e.g. "127.0.0.1:39022" or "unix"; never fails. Returns BUF. */
const char *sock_peer_name(int fd, char *buf, size_t len);

#endif
