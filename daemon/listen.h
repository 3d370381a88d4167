/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's own listening sockets. */
#ifndef MIGD_DAEMON_LISTEN_H
#define MIGD_DAEMON_LISTEN_H

#include "base/err.h"

/*
 * Listen on the Unix socket PATH of TYPE (SOCK_STREAM, SOCK_SEQPACKET) with mode 0660. A socket
 * that a dead daemon left is replaced; -EADDRINUSE if somebody listens on it.
 */
int listen_unix(const char *path, int type, int *ret_fd, struct merr *err);

#endif
