/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What starts a VMM for a guest that is announced: section [arrivals] of the configuration. A program with the guest's name as
 * its argument and the description as its standard input; or an instance of a systemd template unit, with the description in
 * HOOK_DIRECTORY/INSTANCE.json.
 */
#ifndef MIGD_DAEMON_HOOK_H
#define MIGD_DAEMON_HOOK_H

#include "base/err.h"
#include "schema/types.h"

#define HOOK_DIRECTORY "/run/migd/arrivals"

struct daemon;
struct hook;

/* It ended: well, if ERR is NULL, which does not say that the VMM is there. From the event loop, at most once. */
typedef void (*hook_fn)(void *opaque, const struct merr *err);

/*
 * Start what the configuration says for G. -ENOENT: it says nothing; -EINVAL: the name is none that a program or a unit should
 * have; or why nothing could be started, with ERR.
 */
int hook_start(struct daemon *d, const struct guest_description *g, hook_fn fn, void *opaque, struct hook **ret,
	       struct merr *err);

/* FN is not called any more. What was started stays. NULL is fine; returns NULL. */
struct hook *hook_leave(struct hook *h);

/* The same, and all of it is ended: the program's process group is killed, the unit stopped. */
struct hook *hook_undo(struct hook *h);

#endif
