/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QMP sockets of one guest each, for clients that know QEMU's QMP only: what they say is about that guest, without its name.
 * Those of [qmp] guest-sockets are there from the guest's attachment on; others are made by guest-open-qmp. All vanish with
 * the guest's record.
 */
#ifndef MIGD_DAEMON_GUEST_SOCKET_H
#define MIGD_DAEMON_GUEST_SOCKET_H

#include "base/err.h"

struct daemon;
struct guest;

/* Make the directory of [qmp] guest-sockets, and remove from it what a former daemon left. -errno with ERR. */
int guest_sockets_prepare(struct daemon *d, struct merr *err);

/* G is attached: its socket of the configuration is there from now on. What keeps it from being so is logged. */
void guest_sockets_open(struct guest *g);

/*
 * G's VMM is gone: as with a QEMU, this is the end of connections to it; whoever connects now is told of its record. But a
 * VMM whose guest went elsewhere leaves by itself, and who waits for the outcome stays to be told.
 */
void guest_sockets_hang_up(struct guest *g);

/* G is forgotten: its sockets are removed, and their sessions closed. */
void guest_sockets_close(struct guest *g);

#endif
