/* SPDX-License-Identifier: Apache-2.0 */
/* The records of the `ram` section, as they are written: WIRE.md 3.1 and 3.2. Migration thread. */
#ifndef MIGD_ENGINE_RAM_RECORDS_H
#define MIGD_ENGINE_RAM_RECORDS_H

#include "engine/kernels/kernels.h"
#include "engine/out.h"
#include "engine/ram-delta.h"
#include "engine/ram.h"
#include "engine/stats-page.h"

/* Pointers are borrowed. */
struct ram_records {
	struct out *out;
	struct stats_page *stats;
	const struct kernels *kernels;
	struct ram_delta *delta;	/* NULL: no xbzrle */
	bool runs;			/* the peer understands WIRE_RAM_RUN */
	bool all_in_full;		/* zero-page-detection none: zero pages are sent as any other */
	const struct ram_file *last_block;	/* of the last page record: CONTINUE */
};

/* The list's head, and what it says of each block. */
void ram_records_list(struct ram_records *rec, const struct ram *ram);
void ram_records_list_block(struct ram_records *rec, const struct ram *ram, const struct ram_file *b);

/* N pages from PAGE on are zero. */
void ram_records_zero(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint64_t n);

/* N pages, which stay at DATA until the next flush: those that are zero as such, the others in full. */
void ram_records_pages(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint64_t n,
		       const uint8_t *data);

/* The same with a copy that nobody else writes: differences where there are any. DATA is overwritten. */
void ram_records_copies(struct ram_records *rec, const struct ram_file *b, uint64_t page, uint64_t n,
			uint8_t *data);

/* All damaged pages of B. The peer knows WIRE_RAM_POISON. */
void ram_records_poison(struct ram_records *rec, const struct ram_file *b);

/* Asks the peer, which knows WIRE_RAM_MARK, to answer NUMBER. */
void ram_records_mark(struct ram_records *rec, uint32_t number);

/* The stream goes on over another connection's OUT: nothing that was said counts. -ENOMEM. */
int ram_records_begin_anew(struct ram_records *rec, struct out *out);

/* True while pages must go by ram_records_copies(). */
bool ram_records_need_copies(const struct ram_records *rec);

#endif
