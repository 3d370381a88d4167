/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's RAM blocks as a worker sees them: files, lengths, bitmaps. Nothing is mapped but bitmaps. */
#ifndef MIGD_ENGINE_RAM_H
#define MIGD_ENGINE_RAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attach/dirty-map.h"
#include "attach/proto.h"
#include "base/err.h"
#include "engine/wire.h"

struct ram_file {
	char name[ATTACH_STR_MAX + 1];
	int fd;			/* owned */
	uint64_t fd_offset;
	uint64_t file_len;	/* of the whole file, when it was added */
	uint64_t len;		/* bytes, a multiple of WIRE_PAGE_SIZE */
	uint64_t n_pages;	/* of WIRE_PAGE_SIZE */
	uint64_t first_page;	/* counted over all blocks: those of the blocks before */
	uint64_t page_size;	/* of the memory itself */
	uint64_t gpa;
	uint64_t host_base;	/* of the VMM's mapping, for its userfaultfd */
	uint32_t flags;		/* enum attach_ram_flag */
	bool ignored;		/* x-ignore-shared: both sides have it; neither sent, nor cleared, nor received */

	atomic_bool named;	/* destination: there was a record of it; set by who reads the stream, or urgent pages */
	bool handed;		/* destination: another VMM's memory, which it still uses: never written here */

	struct dirty_map hints;	/* shared with the library: pages that need not be sent; source, bits NULL: none */
	uint64_t *poison;	/* pages that are damaged (engine/ram-poison.h), or NULL: none */

	/* Source only. */
	bool poison_unsent;	/* the destination does not know all of them */
	uint64_t *todo;		/* pages to look at in this pass */
	uint8_t *units;		/* engine/ram-units.h: enum ram_unit of each RAM_UNIT_PAGES pages */
	uint64_t *unacked;	/* pages that may not have arrived (engine/unacked.h), or NULL: not kept */
	struct dirty_map dirty;	/* shared with the library */

	/* Destination only. */
	uint64_t *filled;	/* pages that may hold something else than zeros */
	struct dirty_map received; /* post-copy, shared with the library: pages that are as they are to be; bits NULL: no post-copy */
};

struct ram {
	struct ram_file blocks[ATTACH_RAM_BLOCKS_MAX];
	size_t n_blocks;
	uint64_t total_bytes;
	uint64_t ignored_bytes;	/* of it */
	bool ignore_shared;	/* the capability: the list has addresses */
	bool postcopy;		/* advised: the list has the page sizes of blocks that are not of WIRE_PAGE_SIZE */
};

/* hugetlbfs: no write(), no holes, and memory comes in huge pages. */
static inline bool ram_is_huge(const struct ram_file *b)
{
	return b->page_size > WIRE_PAGE_SIZE;
}

/* Check a row of the library's RAM table and add it; takes over FD. -EBADMSG with ERR. */
int ram_add(struct ram *ram, const struct attach_ram_block *row, int fd, struct merr *err);

/*
 * Guest memory keeps its size while it migrates: -EBUSY with ERR, naming the block, if a block's file has another one than
 * when it was added. (A memfd is sealed; a named file can be resized by anybody.)
 */
int ram_check_sizes(const struct ram *ram, struct merr *err);

/* Make the source's, or the destination's, bitmaps. -ENOMEM. */
int ram_source_init(struct ram *ram);
int ram_target_init(struct ram *ram);
void ram_done(struct ram *ram);

/* Capability x-ignore-shared, before anything is sent or received: leave out the blocks that the VMM says are shared. */
void ram_ignore_shared(struct ram *ram);

/* A bitmap of N pages, all clear; ram_done() frees a block's. NULL: no memory. */
uint64_t *ram_bits_new(uint64_t n_pages);
uint64_t *ram_bits_free(uint64_t *bits, uint64_t n_pages);

/* NULL: no such block. */
struct ram_file *ram_find(struct ram *ram, const char *name);

/*
 * Move what the library and the VMM marked dirty into `todo`; returns how many pages were added. The caller has
 * asked the library to sync first.
 */
uint64_t ram_take_dirty(struct ram *ram);

/* Pages in `todo`. */
uint64_t ram_todo_pages(const struct ram *ram);

/*
 * What is at page PAGE of B: true: memory that was touched; false: a hole, which reads as zeros and must not be touched.
 * *ret_end: the first page that is not like it, at most n_pages. A hugetlbfs file is all data.
 */
bool ram_is_data(const struct ram_file *b, uint64_t page, uint64_t *ret_end);

/* Read N pages into DATA. 0 or -errno; a hole gives zeros and stays one. */
int ram_read(const struct ram_file *b, uint64_t page, uint64_t n, uint8_t *data);
/* R is what tmpfs and hugetlbfs say of a page that the hardware has lost. */
bool ram_is_damage(int r);

#endif
