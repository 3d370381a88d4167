/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Post-copy: putting pages under a guest that runs. A page is written into its block's file, where the guest does not see it,
 * its `received` bit is set, and only then it is shown (engine/fault-service.h). Whatever a source sends, a page that is
 * received is never written again: what comes of it once more is read and dropped. A page of the block's own size is shown
 * when all of it is there.
 *
 * Any number of channels, each with a placer and a thread of its own.
 */
#ifndef MIGD_ENGINE_RAM_PLACE_H
#define MIGD_ENGINE_RAM_PLACE_H

#include "engine/fault-service.h"
#include "engine/in.h"
#include "engine/ram.h"

struct placement {
	struct ram *ram;
	struct fault_service *faults;
	struct stats_page *stats;
	_Atomic uint64_t missing;	/* pages */
	int complete_fd;		/* wake: none is */
	uint64_t *claimed[ATTACH_RAM_BLOCKS_MAX]; /* a channel is bringing the page, or did */
};

/* MISSING: so many pages are not `received`. -ENOMEM. The rest is borrowed. */
int placement_init(struct placement *p, struct ram *ram, uint64_t missing, struct fault_service *faults,
		   struct stats_page *stats);
void placement_done(struct placement *p);

/* What one channel is about. */
struct placer {
	struct placement *placement;
	struct in *in;
	/* A huge page that is not all there yet, in bytes of its block; block NULL: none. */
	struct ram_file *block;
	uint64_t next, end;
	bool dropped;		/* it is here already */
};

void placer_init(struct placer *pl, struct placement *p, struct in *in);
/* The channel is gone: what it left unfinished may come by another. */
void placer_reset(struct placer *pl);

/* Records, whole pages inside the block: the next LEN bytes of the stream, or zeros. Errors are the stream's. */
int placer_stream(struct placer *pl, struct ram_file *b, uint64_t offset, uint64_t len);
int placer_zero(struct placer *pl, struct ram_file *b, uint64_t offset, uint64_t len);

#endif
