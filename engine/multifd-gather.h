/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which connections become channels of multifd: the source makes them after the main one and before it writes there, the
 * destination takes them once the main one's opening said whose they have to be.
 */
#ifndef MIGD_ENGINE_MULTIFD_GATHER_H
#define MIGD_ENGINE_MULTIFD_GATHER_H

#include "engine/migration.h"
#include "engine/multifd-source.h"
#include "engine/target.h"

/* The source's last one follows its first at once, and all come before the stream. */
#define MULTIFD_GATHER_TIMEOUT_MS 10000

/* Whether M has channels beside its main stream; in a file each page has its own place instead. */
bool multifd_is_on(const struct migration *m);

/* Source: connect all. NULL with ERR. */
struct multifd_source *multifd_connect(struct migration *m, struct merr *err);

/*
 * Destination, once it is known what the source is: take all channels into T's `multifd`, which have to be there in
 * MULTIFD_GATHER_TIMEOUT_MS; refuse those of others, one too many, or any if multifd is off. 0 or -errno with T's error.
 */
int multifd_gather(struct target *t);

#endif
