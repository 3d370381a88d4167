/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of RAM as differences from what was sent before: capability xbzrle, on the source.
 *
 * What is cached must be what the destination holds, to the byte, while the guest goes on writing: a page is looked at,
 * encoded, cached and sent from one private copy only. The first pass is neither encoded nor cached (nothing was sent
 * before); from the second on each page sent goes by ram_delta_page(), and each that is sent as zero by ram_delta_zero().
 * Migration thread.
 */
#ifndef MIGD_ENGINE_DELTA_H
#define MIGD_ENGINE_DELTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/kernels.h"
#include "engine/stats-page.h"

struct ram_delta;

/*
 * For N_PAGES of all blocks together. CACHE_BYTES (borrowed; another thread may change it) is read again at each pass and
 * flush. NULL: no memory.
 */
struct ram_delta *ram_delta_new(uint64_t n_pages, const _Atomic uint64_t *cache_bytes,
				struct stats_page *stats);
struct ram_delta *ram_delta_free(struct ram_delta *d);

/* What the destination holds is not known any more. -ENOMEM. */
int ram_delta_forget(struct ram_delta *d);

/* A pass begins. */
void ram_delta_pass(struct ram_delta *d);

/* Not in the first pass. */
bool ram_delta_is_on(const struct ram_delta *d);

/* Take a changed cache size. When there is no memory for it, the cache stays as it is. */
void ram_delta_adapt(struct ram_delta *d);

enum delta_form {
	DELTA_NONE = 1,	/* the destination has it already: nothing is to be sent */
	DELTA_CODE,		/* send *ret_len bytes of code, which replaced DATA */
	DELTA_FULL,		/* send DATA */
};

/* How to send page PAGE (counted over all blocks), of which DATA is the private copy. */
enum delta_form ram_delta_page(struct ram_delta *d, uint64_t page, uint8_t *data, size_t *ret_len);

/* N pages from PAGE on are sent as zeros. */
void ram_delta_zero(struct ram_delta *d, uint64_t page, uint64_t n);

#endif
