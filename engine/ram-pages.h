/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of memory into the stream: by reference, or by a copy.
 *
 * Runs from 256 KiB up are mapped, populated and sent by reference, 2 MiB at a time; measured over
 * loopback TCP on the development machines, 2.9 GB/s at 0.33 CPU s/GB in the sender, against 2.1 at
 * 0.44 for pread() into a buffer of 256 KiB. Shorter ones go by such a buffer: a system call each
 * costs less than a mapping. So does hugetlbfs, where a look at a hole through a mapping would take
 * a huge page; and with xbzrle everything after the first pass, since what is sent must not change
 * between encoding and sending.
 */
#ifndef MIGD_ENGINE_RAM_PAGES_H
#define MIGD_ENGINE_RAM_PAGES_H

#include "engine/ram-poison.h"
#include "engine/ram-records.h"
#include "engine/ram.h"

/* Sent by reference at once: 2 MiB is one page of page table, and as fast as any larger size. */
#define RAM_WINDOW_PAGES 512U

/* Called now and then while pages are sent; 0, or -errno to stop. */
typedef int (*ram_tick_fn)(void *opaque);

/* Migration thread. */
struct ram_pages {
	struct ram *ram; /* borrowed */
	struct ram_records rec;
	struct ram_poison poison;
	ram_tick_fn tick; /* NULL: none */
	void *tick_opaque;
	uint32_t buffered; /* pages of the buffer that the stream refers to */
	uint8_t *buffer;
};

/* The buffer, and what `rec` has of its own. -ENOMEM. */
int ram_pages_init(struct ram_pages *p);
void ram_pages_done(struct ram_pages *p);

/* Send N pages; by reference only what has no holes (DENSE), for populating a mapping allocates
 * them. 0 or -errno with ERR. */
int ram_pages_send(struct ram_pages *p, struct ram_file *b, uint64_t page, uint64_t n, bool dense,
		   struct merr *err);

/* Send all that refers to the buffer or a window, and see to what else there is to do. 0 or -errno;
 * the stream's are its. */
int ram_pages_flush(struct ram_pages *p);

/* Reading PAGE failed with R: the error, with ERR. Most likely there is less of the file than there
 * was. */
int ram_pages_unreadable(const struct ram_pages *p, const struct ram_file *b, uint64_t page, int r,
			 struct merr *err);

#endif
