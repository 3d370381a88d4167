/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared dirty bitmap of one RAM block: a memfd with a header page, then one bit per 4 KiB page (also where
 * memory is in huge pages), 64-bit little-endian words.
 *
 * Writers (library, VMM threads by mark_dirty) OR atomically with release order, after the data write. The
 * worker takes words by acquire exchange (bitmap_atomic_take()).
 */
#ifndef MIGD_ATTACH_DIRTY_MAP_H
#define MIGD_ATTACH_DIRTY_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DIRTY_MAP_MAGIC 0x4244474dU	/* "MGDB" */
#define DIRTY_MAP_VERSION 1
#define DIRTY_MAP_BITS_OFFSET 4096U
#define DIRTY_PAGE_SIZE 4096U

struct dirty_map_header {
	uint32_t magic;
	uint32_t version;
	uint64_t n_pages;
	uint32_t generation;	/* of the migration; informative */
	uint32_t flags;		/* 0 */
};

struct dirty_map {
	struct dirty_map_header *header;
	uint64_t *bits;
	uint64_t n_pages;
	size_t map_len;		/* bytes mapped from `header` on */
};

/* A new map for N_PAGES, all clean. *ret_fd is the caller's. */
int dirty_map_create(uint64_t n_pages, struct dirty_map *ret, int *ret_fd);
/* Map FD (borrowed); it must be sealed and describe exactly N_PAGES, else -EBADMSG with ERR. */
int dirty_map_open(int fd, uint64_t n_pages, struct dirty_map *ret, struct merr *err);
void dirty_map_done(struct dirty_map *m);

#endif
