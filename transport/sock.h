/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets for addresses. Nothing here blocks. All sockets are close-on-exec and non-blocking; TCP ones have TCP_NODELAY.
 */
#ifndef MIGD_TRANSPORT_SOCK_H
#define MIGD_TRANSPORT_SOCK_H

#include <stddef.h>

#include "base/err.h"
#include "transport/addr.h"
#include "transport/resolve.h"

/*
 * Start connecting to T, one of A's, from A's source address. *ret_fd is a socket that is connected, or becomes writable
 * when it is or failed: then ask sock_connect_result(). -errno with ERR if it failed at once.
 */
int sock_connect(const struct addr *a, const struct sock_target *t, int *ret_fd, struct merr *err);
/* 0, or -errno with ERR. */
int sock_connect_result(const struct addr *a, int fd, struct merr *err);

/*
 * Bind and listen on the first target that works; a stale unix path is unlinked first (only if it is a
 * socket nobody answers on). ERR: "Failed to listen on 'HOST:PORT': ..." and what to do.
 */
int sock_listen(const struct addr *a, const struct sock_target *targets, size_t n, int *ret_fd,
		struct merr *err);

/* Remove the file of a Unix socket that was listened on; other addresses have none. */
void sock_remove(const struct addr *a);

/* The address a listening socket really has: the port that 0 or a range became. */
int sock_local_addr(int fd, struct addr *ret);
/* The peer of a connected socket as text: "127.0.0.1:39022", "vsock:3:1025", "unix"; never fails. Returns BUF. */
const char *sock_peer_name(int fd, char *buf, size_t len);

#endif
