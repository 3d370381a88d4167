/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capability switchover-ack (WIRE.md 7.2): the guest is not stopped before the destination said that whatever has to
 * prepare there is ready. Both sides need the capability; with the source's alone, passes go on until it is cancelled.
 */
#ifndef MIGD_ENGINE_SWITCHOVER_ACK_H
#define MIGD_ENGINE_SWITCHOVER_ACK_H

#include "engine/source.h"
#include "engine/target.h"

/*
 * Source, between two passes: 1: the guest may be stopped as far as this is concerned; 0: make another pass (some time
 * was spent waiting); -errno with S->err. A guest that does not run anyway is not waited for.
 */
int switchover_ack_wait(struct source *s);

/* Destination, again and again: says so, once, when nothing here has to prepare any more. -errno with T->err. */
int switchover_ack_check(struct target *t);

#endif
