/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the peer of an outgoing migration, each from the source address that was asked for. */
#ifndef MIGD_DAEMON_PEER_H
#define MIGD_DAEMON_PEER_H

#include "daemon/dial.h"
#include "schema/types.h"

struct daemon;
struct migration;

/*
 * dial_connect() to M's address. A source address or interface that the address names is used; if it names neither, the
 * daemon's are (host-set-parameters, as they are now).
 */
struct dial *peer_dial(struct migration *m, unsigned int delay_ms, dial_fn fn);

/* Whether P's source-address and source-interface can be such. -EINVAL with ERR. */
int peer_check_source(const struct daemon *d, const struct host_parameters *p, struct merr *err);

#endif
