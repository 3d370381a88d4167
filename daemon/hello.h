/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMMs at the door: a connection of the attach socket, or to a VMM's own, until HELLO was answered.
 * One that says nothing, or something else, is dropped; what it can hold on to is bounded.
 */
#ifndef MIGD_DAEMON_HELLO_H
#define MIGD_DAEMON_HELLO_H

#include "base/err.h"

struct daemon;
struct door;
struct qmp_call;

/*
 * Listen for VMMs: on the socket FD (taken over), which somebody else made; or, if it is -1, on one made here, as
 * d->config.attach says (-EADDRINUSE: somebody listens there already).
 */
int door_open(struct daemon *d, int fd, struct door **ret, struct merr *err);
/* Close it and remove the socket, if it was made here; attached guests stay. */
struct door *door_close(struct door *door);
/* Where VMMs register. */
const char *door_path(const struct door *door);

/*
 * `guest-attach`: connect to PATH; CALL is answered when its guest is there under the name ID, or
 * why it is not.
 */
void door_reach_out(struct door *door, const char *id, const char *path, struct qmp_call *call);

/* The same for a VMM that a former daemon had attached so; a failure is logged. */
void door_reach_out_again(struct door *door, const char *id, const char *path);

/*
 * `guest-detach`: the VMM with PID may not attach as NAME again by itself; guest-attach lifts that.
 */
void door_lock_out(struct door *door, const char *name, int pid);

#endif
