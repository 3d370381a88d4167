/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's shared ports: sockets at which any guest of this host can be received (docs/shared-port.md). Opened by
 * the configuration ([daemon] listen, --listen) or host-listen; the next daemon opens them again, at the same addresses.
 *
 *   settings/listeners    in the state directory, version 1
 */
#ifndef MIGD_DAEMON_LISTENERS_H
#define MIGD_DAEMON_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "schema/types.h"

#define LISTENERS_MAX 16U

struct daemon;
struct listeners;

/*
 * Those of D->config, which have to open (-errno with ERR), and those that a former daemon had been told of by host-listen,
 * which are tried again and again. D->state and D->base are there.
 */
int listeners_open(struct daemon *d, struct listeners **ret, struct merr *err);
struct listeners *listeners_free(struct listeners *ls);

/* Whether there is one at all. */
bool listeners_any(const struct listeners *ls);

/* Where they really listen: *ret_n addresses in *ret, the caller's as query-migrate's `socket-address` is. -ENOMEM. */
int listeners_describe(const struct listeners *ls, struct socket_address **ret, size_t *ret_n);

#endif
