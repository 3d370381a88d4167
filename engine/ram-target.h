/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving RAM: bodies of the `ram` section into the blocks' files. Hostile input: every address and count is checked
 * before anything is written.
 *
 * Long runs go from the socket into the file by splice, short ones through the stream's buffer and pwrite(): neither
 * faults a page in nor clears one that is about to be overwritten. hugetlbfs has no write(): there a huge page is mapped
 * and copied into. What was never sent stays a hole.
 */
#ifndef MIGD_ENGINE_RAM_TARGET_H
#define MIGD_ENGINE_RAM_TARGET_H

#include <stdbool.h>

#include "engine/guest-link.h"
#include "engine/in.h"
#include "engine/mapped-reader.h"
#include "engine/multifd-target.h"
#include "engine/ram-place.h"
#include "engine/ram.h"

struct ram_target {
	struct ram *ram;
	struct in *in;
	bool runs;		/* WIRE_RAM_RUN was agreed on */
	bool handed;		/* the blocks are the source's own memory: no page comes (engine/cpr.h) */
	struct mapped_reader *mapped;	/* pages are in their places, no records; or NULL. Borrowed */
	struct lazy_restore *lazy;	/* likewise, and they are read later: engine/lazy-restore.h */
	struct guest_link *guest;	/* is told of damaged pages; NULL: WIRE_RAM_POISON was not agreed on */
	struct placer *placer;	/* post-copy: from LISTEN on pages go by it; NULL: before. Borrowed */
	bool page_sizes;	/* post-copy was announced: the block list has the sizes of huge pages */
	struct multifd_target *multifd;	/* pages come over its channels; NULL: they do not */
	struct chan *marks;	/* where WIRE_RAM_MARK is answered; NULL: it was not agreed on. Borrowed */
	bool sync_by_section;	/* multifd: the source is an old one, the end of each section is a sync point */
	bool listed;		/* MEM_SIZE came */
	struct ram_file *last;	/* for CONTINUE */
};

/*
 * Forget what the blocks hold: from here on every byte is zero until it is received. Not those handed over. 0 or -errno with
 * ERR.
 */
int ram_target_clear(struct ram *ram, struct merr *err);

/* One section body, up to its EOS. Errors are IN's. SETUP: of a START section, where MEM_SIZE must come. */
int ram_target_receive(struct ram_target *t, bool setup);

/* The record W and what belongs to it, which is no end of a section. Errors are IN's. */
int ram_target_record(struct ram_target *t, uint64_t w, bool setup);

/* Before LOADED: with x-ignore-shared, a block that is not shared here must have come. Errors are IN's. */
int ram_target_check_named(const struct ram_target *t);

#endif
