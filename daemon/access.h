/* SPDX-License-Identifier: Apache-2.0 */
/* Which QMP clients may do what: section [access] of the configuration. */
#ifndef MIGD_DAEMON_ACCESS_H
#define MIGD_DAEMON_ACCESS_H

#include "base/err.h"
#include "qmp/server.h"

struct access;
struct daemon;

/*
 * Look up the users and groups of d->config.access, which may take as long as the host's name services do, and let them
 * hold, for sessions that are open too. A name that is unknown is logged, and nobody's. -EINVAL, -ENOMEM with ERR: what
 * held before does still.
 */
int access_load(struct daemon *d, struct merr *err);

/* Returns NULL; A may be NULL. */
struct access *access_free(struct access *a);

/* The server's callbacks of these names; OPAQUE is the daemon. Nothing is looked up. */
unsigned int access_rights(void *opaque, const struct qmp_peer *peer);
int access_refuse(void *opaque, const struct qmp_peer *peer, enum qmp_access access, struct merr *err);

/* The name of user UID as it was when the lists were loaded; "": it has none in /etc/passwd. */
const char *access_user_name(const struct daemon *d, uid_t uid);

#endif
