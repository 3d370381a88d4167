/* SPDX-License-Identifier: Apache-2.0 */
/* The objects' definitions in the state directory. Secrets that came in a command are not among them. */
#ifndef MIGD_DAEMON_OBJECT_STORE_H
#define MIGD_DAEMON_OBJECT_STORE_H

#include "schema/types.h"

struct objects;
struct state_dir;

/* A failure is logged: the objects are lost if the daemon ends. */
void object_store_save(const struct objects *os);

/* Call FN for each that was kept, the oldest first. */
void object_store_load(struct state_dir *state, void (*fn)(void *opaque, const struct object_options *o), void *opaque);

#endif
