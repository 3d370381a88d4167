/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All guests of this host to others, as one operation (docs/evacuation.md). It only begins migrations, as `migrate` does, and sees
 * what becomes of them: the host's limits, the queue and the handover are theirs. Where it stands is in the state directory,
 *
 *   settings/evacuation    version 1
 *
 * and where that is behind (a crash), what the guests' migrations say holds.
 */
#ifndef MIGD_DAEMON_EVACUATION_H
#define MIGD_DAEMON_EVACUATION_H

struct daemon;
struct evacuation;

/* With what a former daemon left, which goes on. NULL: no memory. */
struct evacuation *evacuation_new(struct daemon *d);
struct evacuation *evacuation_free(struct evacuation *e);

/* A guest or its migration changed: look again, from the event loop. */
void evacuation_review(struct daemon *d);

#endif
