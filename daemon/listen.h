/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's own listening sockets. */
#ifndef MIGD_DAEMON_LISTEN_H
#define MIGD_DAEMON_LISTEN_H

#include "base/err.h"

/*
 * Listen on the Unix socket PATH of TYPE (SOCK_STREAM, SOCK_SEQPACKET), whose permissions are MODE (octal digits), and whose
 * group is GROUP (a name or a number; "": ours). A socket that a dead daemon left is replaced; -EADDRINUSE if somebody listens
 * on it. -EINVAL: there is no such group.
 */
int listen_unix(const char *path, int type, const char *mode, const char *group, int *ret_fd, struct merr *err);

/* Remove the socket PATH if nobody listens on it. -EADDRINUSE: somebody does; -EEXIST: it is no socket. */
int listen_remove_stale(const char *path, int type);

#endif
