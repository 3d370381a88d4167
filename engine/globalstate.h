/* SPDX-License-Identifier: Apache-2.0 */
/* The `globalstate` section (WIRE.md 2.5): in which run state the guest was before it was stopped. */
#ifndef MIGD_ENGINE_GLOBALSTATE_H
#define MIGD_ENGINE_GLOBALSTATE_H

#include <migd/guest.h>

#include "engine/handler.h"

struct globalstate {
	enum migd_guest_run_state state;	/* source: before the stop */
	bool live;		/* destination: the guest is to run; so it is if no section came */
	bool required;		/* destination: a stream without it is refused */
};

/* Both sides. G is borrowed. */
int globalstate_register(struct handlers *hs, struct globalstate *g, struct merr *err);

#endif
