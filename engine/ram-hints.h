/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free-page hints, as the worker takes them: pages whose contents do not matter are not sent. guest/hint.h has the order that
 * keeps writes from being lost. Migration thread.
 */
#ifndef MIGD_ENGINE_RAM_HINTS_H
#define MIGD_ENGINE_RAM_HINTS_H

#include "engine/guest-link.h"
#include "engine/ram.h"

/* After the first sync: ask for hints. A library that has none is no error. */
int ram_hints_start(struct guest_link *g, struct ram *ram, struct merr *err);

/*
 * After ram_take_dirty(): drop the hints for what is on the list. (In mid-pass this also drops some that would have been
 * good: such a page is sent.)
 */
void ram_hints_drop_dirty(struct ram *ram);

/* Before the log of pages [first, end) is cleared: take what is hinted off `todo`. Returns how many pages that were. */
uint64_t ram_hints_skip(struct ram_file *b, uint64_t first, uint64_t end);

#endif
