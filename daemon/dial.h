/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and connections without blocking the loop: looking up happens in a thread, connecting by
 * events, each resolved address in turn. A look-up may take 25 s, each of the addresses (16 at most) 10 s.
 */
#ifndef MIGD_DAEMON_DIAL_H
#define MIGD_DAEMON_DIAL_H

#include <event2/event.h>
#include <stdbool.h>

#include "base/err.h"
#include "transport/addr.h"

struct dial;

/*
 * FD is the connected (or, for dial_listen(), the listening) socket and is the callee's, or -1 with
 * ERR. Called once, from the event loop, never from dial_*() itself. The dial is gone afterwards.
 */
typedef void (*dial_fn)(void *opaque, int fd, const struct merr *err);

/* Connect to A after DELAY_MS. NULL: no memory. */
struct dial *dial_connect(struct event_base *base, const struct addr *a, unsigned int delay_ms,
			  dial_fn fn, void *opaque);
/* Listen on A. */
struct dial *dial_listen(struct event_base *base, const struct addr *a, dial_fn fn, void *opaque);

/* FN will not be called. NULL is fine; returns NULL. */
struct dial *dial_cancel(struct dial *d);

#endif
