/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that wait at the host's shared ports (migrate-incoming with `shared:`), and connections that name them. */
#ifndef MIGD_DAEMON_RENDEZVOUS_H
#define MIGD_DAEMON_RENDEZVOUS_H

#include "base/err.h"
#include "schema/types.h"
#include "transport/greeting.h"

struct daemon;
struct guest;
struct migration;

/* The name under which M waits; NULL: it does not wait at the shared ports. */
const char *rendezvous_name(const struct migration *m);

/* Whether a guest may begin to wait under NAME. -errno with ERR: another one does, or there is no shared port. */
int rendezvous_check(const struct daemon *d, const char *name, struct merr *err);

/*
 * The migration that a connection is for: the one with its handover id, or else the one that waits under its name and
 * has not begun with another source. NULL: *ret_why says why not.
 */
struct migration *rendezvous_find(const struct daemon *d, const struct greeting *g, enum host_refusal *ret_why);

/* M waits, and no source has begun yet. */
bool rendezvous_is_fresh(const struct migration *m);

/* Somebody waits under NAME, and no source has begun yet. */
bool rendezvous_waits(const struct daemon *d, const char *name);

#endif
