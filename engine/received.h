/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of an incoming guest are as they are to be, in post-copy: the blocks' `received` maps. The library holds them,
 * so that a worker's successor finds them: a page whose bit is set may have been changed by the guest, and is never written
 * again; one whose bit is not set was never shown to it.
 *
 * Bits are set together for a whole page of the block's own size. Any thread, but for the first two: before faults are
 * served. Sequentially consistent, as engine/fault-service.h needs it.
 */
#ifndef MIGD_ENGINE_RECEIVED_H
#define MIGD_ENGINE_RECEIVED_H

#include "engine/ram.h"

/* All that came so far is valid. */
void received_set_all(struct ram *ram);
/* The source is going to send these again: how many were valid. */
uint64_t received_discard(struct ram_file *b, uint64_t page, uint64_t n);

bool received_has(const struct ram_file *b, uint64_t page);
/* How many of them were missing. */
uint64_t received_add(struct ram_file *b, uint64_t page, uint64_t n);

/* Takes a while, with much memory. */
uint64_t received_count_missing(const struct ram *ram);
/* The first page that is missing; false: none is. */
bool received_find_missing(const struct ram *ram, const struct ram_file **ret_block, uint64_t *ret_page);

#endif
