/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the source's memory was ever touched.
 *
 * Memory that never was is skipped in units of 2 MiB: a unit that is a hole as a whole is not re-protected, not
 * read and not sent, however large the guest; KVM goes on reporting it, and each sync looks whether it is still a
 * hole (one lseek per hole). Where a unit holds anything, its holes go as zero runs when it is sent for the first time; from
 * then on nobody looks for holes in it, for that costs the kernel a walk over all that follows: 5 ms in 512 MiB.
 */
#ifndef MIGD_ENGINE_RAM_UNITS_H
#define MIGD_ENGINE_RAM_UNITS_H

#include "engine/ram.h"

/* A huge page's worth, eight words of a bitmap. */
#define RAM_UNIT_PAGES 512U

/* What the source knows about such a unit. It only ever goes up. */
enum ram_unit {
	RAM_UNIT_UNSEEN = 0,	/* nothing of it was ever re-protected, read or sent; as far as is known it is a hole */
	RAM_UNIT_TOUCHED,	/* the same, but there is something in it */
	RAM_UNIT_NEW,		/* it has holes, and is sent for the first time in this pass */
	RAM_UNIT_MIXED,		/* it had holes when it was sent for the first time, in an earlier pass */
	RAM_UNIT_DENSE,		/* it had none */
};

static inline uint64_t ram_n_units(const struct ram_file *b)
{
	return (b->n_pages + RAM_UNIT_PAGES - 1) / RAM_UNIT_PAGES;
}

/* The last stretch of memory found touched: pages [first, end) of BLOCK. All zero: none; to be forgotten after each pass. */
struct ram_seen {
	const struct ram_file *block;
	uint64_t first, end;
};

/* What a run of pages in `todo` is, as far as it is alike. */
struct ram_stretch {
	uint64_t end;
	bool data;	/* false: a hole */
	bool dense;	/* no hole in it, as far as is known */
};

/* Drop what was never touched from `todo`; returns how many pages that were. */
uint64_t ram_units_skip_holes(struct ram_file *b);

/* A pass begins: what the one before saw for the first time it has sent. */
void ram_units_age(struct ram_file *b);

/* Look at the units of [first, end) that are about to be sent for the first time. */
void ram_units_see(struct ram_seen *seen, struct ram_file *b, uint64_t first, uint64_t end);

/* From PAGE on, in a unit that was seen. */
struct ram_stretch ram_units_look(struct ram_seen *seen, const struct ram_file *b, uint64_t page);

/* Units of [page, page + n) that were never sent, since they were never touched: put into `todo` after all. */
void ram_units_recall(struct ram_file *b, uint64_t page, uint64_t n);

#endif
