/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages as the destination has them: what XBZRLE takes differences from (WIRE.md 4, "Cache rules").
 *
 * Direct-mapped: a page has one place, its number modulo the number of entries. A newcomer takes it unless the page that is
 * there was used in the last two generations (passes over memory): then it is kept, for what is written all the time is
 * worth more than what came by. Memory is taken as entries are used. One thread.
 */
#ifndef MIGD_ENGINE_XBZRLE_CACHE_H
#define MIGD_ENGINE_XBZRLE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/xbzrle.h"

struct xbzrle_cache;

/*
 * For pages 0 to N_PAGES - 1 of a guest. BYTES: a power of two, at least a page; what is more than a place for each page is
 * not used. NULL: no memory.
 */
struct xbzrle_cache *xbzrle_cache_new(uint64_t bytes, uint64_t n_pages);
struct xbzrle_cache *xbzrle_cache_free(struct xbzrle_cache *c);

/* Another size; what fits stays, of two pages for one place the one used last. -ENOMEM: it has the size it had. */
int xbzrle_cache_resize(struct xbzrle_cache *c, uint64_t bytes);

/* What is cached of PAGE, to be read and replaced, or NULL. */
uint8_t *xbzrle_cache_find(struct xbzrle_cache *c, uint64_t page, uint64_t generation);

/* Take a copy of a page that is not cached. False: its place is kept for another. */
bool xbzrle_cache_insert(struct xbzrle_cache *c, uint64_t page, uint64_t generation,
			 const uint8_t *data);

/* Forget PAGE, if it is there. */
void xbzrle_cache_drop(struct xbzrle_cache *c, uint64_t page);

#endif
