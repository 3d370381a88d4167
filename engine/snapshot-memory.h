/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory as it was at one instant, while the guest goes on writing it. What it holds then is write-protected in the
 * VMM's mapping; a page is copied before it can be written again, by whoever comes first:
 *
 *   the migration thread   one word of `todo` after the other, 64 pages
 *   the fault thread       what the guest wants to write, with its neighbours; copies wait in a queue for the migration thread
 *
 * A page is copied by whoever takes its bit out of `todo`, once. Only copies are handed on: what is sent does not change any
 * more. Holes are neither protected nor read: they were zero.
 *
 * Write protection is the VMM's mapping's: what writes through another one (a vhost-user back-end, a second mmap() of the same
 * file), or takes memory away (MADV_REMOVE, punching holes), changes what has not been copied yet.
 *
 * When the last descriptor of the userfaultfd closes, the kernel lifts all protection, and who waited writes. The library keeps
 * none: if this process dies, the guest goes on at once, and only the image is lost.
 */
#ifndef MIGD_ENGINE_SNAPSHOT_MEMORY_H
#define MIGD_ENGINE_SNAPSHOT_MEMORY_H

#include "engine/ram.h"
#include "engine/stats-page.h"

/* What the fault thread copied and nobody has sent yet; when it is full, the guest waits. */
#define SNAPSHOT_QUEUE_BYTES (64U << 20)

struct snapshot_memory;

/* Where it goes. Migration thread; 0, or -errno with ERR to stop. */
struct snapshot_sink {
	/* N pages (at most 64) from PAGE on, which hold DATA until the call returns. Each page comes once. */
	int (*copies)(void *opaque, struct ram_file *b, uint64_t page, uint64_t n, const uint8_t *data,
		      struct merr *err);
	/* These are holes next to touched memory. Those in units of their own (RAM_UNIT_PAGES) are not told. */
	int (*zeros)(void *opaque, struct ram_file *b, uint64_t page, uint64_t n, struct merr *err);
	void *opaque;
};

/*
 * UFFD (taken over) is the VMM's userfaultfd, its blocks registered for write protection. RAM has `todo`, all clear. RAM and
 * STATS are borrowed. Begins to serve faults. -errno with ERR.
 */
int snapshot_memory_new(struct ram *ram, int uffd, struct stats_page *stats, struct snapshot_memory **ret,
			struct merr *err);
/* Whoever waits to write goes on, and nothing is protected any more. */
struct snapshot_memory *snapshot_memory_free(struct snapshot_memory *m);

/*
 * While the guest runs: find what it has touched, so that only holes have to be looked at in the instant. Looking at dense
 * memory costs the kernel some 40 ns a page.
 */
void snapshot_memory_look(struct snapshot_memory *m);

/* The guest is stopped: this is the instant. TICK is called about every GiB. */
int snapshot_memory_protect(struct snapshot_memory *m, int (*tick)(void *opaque), void *opaque, struct merr *err);

/* Once: hand on everything there was. Returns when all of it was, and nothing is protected any more. */
int snapshot_memory_save(struct snapshot_memory *m, const struct snapshot_sink *sink, struct merr *err);

#endif
