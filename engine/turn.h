/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A destination's turn: the host takes so many guests at once (max-incoming), and the daemon says when this one may come. A
 * migd at the other end waits for its answer meanwhile, and is told now and then that somebody is there; its guest runs on,
 * untouched. Any other source is not read from.
 */
#ifndef MIGD_ENGINE_TURN_H
#define MIGD_ENGINE_TURN_H

struct target;

/*
 * Wait for the turn of the source that is connected, as long as it takes, also for the next daemon if there is none. 0: it
 * has come. 1: the source left meanwhile, and another may come. -ECANCELED and others: the migration's end, in its error.
 */
int turn_await(struct target *t);

#endif
