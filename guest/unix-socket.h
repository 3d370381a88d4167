/* SPDX-License-Identifier: Apache-2.0 */
/* The library's AF_UNIX SOCK_SEQPACKET sockets: connecting and listening by path, never blocking. */
#ifndef MIGD_GUEST_UNIX_SOCKET_H
#define MIGD_GUEST_UNIX_SOCKET_H

#include "base/err.h"

/* -EINVAL with ERR: PATH does not fit an address. */
int unix_path_check(const char *path, struct merr *err);

/* A connected socket, or -errno; never blocks. */
int unix_connect(const char *path);

/* Listen at PATH, mode 0600, in the place of a socket that nobody listens on any more. */
int unix_listen(const char *path, int *ret_fd, struct merr *err);

#endif
