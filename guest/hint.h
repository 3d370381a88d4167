/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free-page hints: the shared maps, one per RAM block, of pages whose contents do not matter until they are written again.
 *
 * Why no write is lost. A hint first drops the page from KVM's log and re-protects it (the caller keeps the guest from
 * writing it meanwhile), then sets its bit. So a write after the hint is logged, whenever it happens. The worker
 *
 *   after each sync      takes the bits off the hints that the sync reported: a write may have come after the hint;
 *   before each stretch  takes the hints that are left, takes these pages off its list, and only then clears the log of
 *                        what is left on the list and sends that.
 *
 * A hint that is taken was therefore given after the last write that any sync has reported. A later write is in KVM's log,
 * which nobody clears for this page, for it is not on the list, and the next sync reports it. A hint that comes after its
 * stretch was taken waits for the next; the page was sent meanwhile, which costs time only. What the VMM itself writes goes
 * by migd_guest_mark_dirty(), and the same way.
 *
 * Set by any thread, between hints_start() and hints_stop() of the service thread.
 */
#ifndef MIGD_GUEST_HINT_H
#define MIGD_GUEST_HINT_H

#include <stdbool.h>

#include "attach/dirty-map.h"
#include "attach/proto.h"

struct hints {
	bool on;		/* atomic: the maps are there */
	unsigned int users;	/* atomic: threads that may be using them */
	struct dirty_map maps[ATTACH_RAM_BLOCKS_MAX];
};

#endif
