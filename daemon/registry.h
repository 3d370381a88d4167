/* SPDX-License-Identifier: Apache-2.0 */
/* The guests of this daemon, by name. */
#ifndef MIGD_DAEMON_REGISTRY_H
#define MIGD_DAEMON_REGISTRY_H

#include <stddef.h>
#include <sys/queue.h>

#include "base/err.h"
#include "daemon/guest.h"

struct daemon;

/*
 * Far beyond a host's guests; what a client of the attach socket can make us remember is bounded.
 */
#define REGISTRY_GUESTS_MAX 4096U

struct registry {
	struct daemon *daemon;
	TAILQ_HEAD(guest_list, guest) guests;
	size_t n_guests;
};

struct registry *registry_new(struct daemon *d);
struct registry *registry_free(struct registry *r);

struct guest *registry_find(const struct registry *r, const char *name);

/* A new guest that is not attached. -EBUSY: there are too many; -ENOMEM. */
int registry_add(struct registry *r, const char *name, struct guest **ret, struct merr *err);

/* Forget G: it is freed. */
void registry_remove(struct registry *r, struct guest *g);

size_t registry_n_attached(const struct registry *r);

/*
 * The guest a command is about: NAME if given; else the only attached one; else the only one there
 * is a record of. NULL with ERR, which lists the names there are.
 */
struct guest *registry_resolve(const struct registry *r, const char *name, struct merr *err);

#endif
