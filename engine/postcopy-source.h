/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's switch to post-copy, and what comes after it: the guest goes before its memory does (WIRE.md 7.3).
 *
 * Between migds
 *
 *     pause > state, sync > SWITCHOVER_START, END of all but RAM, RAM_DISCARDs, package > LOADED     revocable
 *     RELEASE > POSTCOPY_RUN > ACTIVE                                                               as COMMIT in pre-copy
 *     pages > END of RAM, EOF > SHUT 0: all pages are there > RETIRE, SETTLED
 *
 * Before LOADED the target asks for pages that the devices' state needs; such answers take nothing away from a guest that goes
 * on here after all. From ACTIVE on it depends on both hosts: when the connection is lost it waits for the pages that it
 * touches, and everything here stays as it is (`postcopy-paused`).
 *
 * A QEMU runs the guest as soon as it has the package, which so is the commit point, and comes after RELEASE. A PING in the
 * package, behind all devices, tells when that was.
 */
#ifndef MIGD_ENGINE_POSTCOPY_SOURCE_H
#define MIGD_ENGINE_POSTCOPY_SOURCE_H

#include "engine/source.h"

/* Before the opening: what its settings ask for can be had. -errno with S->err. */
int postcopy_check(struct source *s);

/* After the opening: with capability postcopy-ram, tell the peer. -errno with S->err if it cannot do that. */
int postcopy_advise(struct source *s);

/* It is possible, and migrate-start-postcopy came: the pass ends, and the switch follows. */
bool postcopy_is_wanted(const struct source *s);

/* In place of source_switchover(). */
enum source_end source_postcopy(struct source *s);

/*
 * The target runs the guest: serve its requests, and send it the rest, over the source's connection and server. 0: it has all;
 * -errno: the connection is of no use any more; a broken stream has no text.
 */
int postcopy_serve(struct source *s);

#endif
