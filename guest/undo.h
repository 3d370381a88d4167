/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a migration did to the guest and how to take it back: each step pushes its reverse as it is
 * made, so that abort, end of channel, lease expiry and failure are one path.
 */
#ifndef MIGD_GUEST_UNDO_H
#define MIGD_GUEST_UNDO_H

#include <stddef.h>

struct migd_guest;

typedef void (*undo_fn)(struct migd_guest *g);

/*
 * At most one of each kind of step is on the stack: begin, dirty log, live devices, throttle,
 * dirty limit, pause.
 */
#define UNDO_MAX 6

struct undo {
	undo_fn steps[UNDO_MAX];
	size_t n;
};

/* Pushing a step that is there already does nothing. */
void undo_push(struct undo *u, undo_fn step);
/* The step was taken back on its own. */
void undo_drop(struct undo *u, undo_fn step);
/* Take everything back, the last step first. */
void undo_run(struct undo *u, struct migd_guest *g);

#endif
