/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mapped-ram file that is read from: which pages it has of a block, and some of them into guest memory. Hostile input: what the
 * file says is checked before a byte of it is used, and nothing is allocated by it.
 *
 * By way of a buffer, for pwrite() neither faults pages of the guest's memory in nor clears them first; past the page cache
 * where the file has no pages there. Measured from a cold cache into a fresh memfd, with a disk of 1.2 to 1.8 GB/s: O_DIRECT
 * by four threads 1.5 to 1.75 GB/s, by two 0.9 to 1.4; read() by the page cache 1.0 to 1.6 (on a busy host 0.3, where O_DIRECT
 * still has 1.1), into a mapping 1.3, splice 0.5 to 1.3, a mapping of the file 0.4.
 */
#ifndef MIGD_ENGINE_MAPPED_FILE_H
#define MIGD_ENGINE_MAPPED_FILE_H

#include "engine/in.h"
#include "engine/mapped-layout.h"
#include "engine/mapped-pool.h"
#include "engine/ram.h"

struct mapped_source_file {
	int fd;			/* the stream's own */
	int direct_fd;		/* the same file with O_DIRECT: better; or -1 */
	unsigned int n_threads;
	int cancel_fd;
};

/*
 * IN is at the header in B's entry: where the file has B (*ret), and which pages: BITS, from ram_bits_new(). Of an ignored or
 * handed block there may be none. -errno with ERR, or IN's.
 */
int mapped_file_map(const struct mapped_source_file *f, struct in *in, struct ram_file *b, struct mapped_layout *ret,
		    uint64_t *bits, struct merr *err);

/* Which pages: again, from the same place. */
int mapped_file_read_bits(const struct mapped_source_file *f, uint64_t offset, const struct ram_file *b, uint64_t *bits,
			  struct merr *err);

/* The end of what is best read at once from PAGE on: of the run, of a piece, of a huge page. */
uint64_t mapped_file_piece_end(const struct ram_file *b, uint64_t page, uint64_t run_end);

/*
 * RUN, at most a piece, into guest memory, from where the block's pages are. BUFFER: MAPPED_RUN_PAGES, aligned to pages. Any
 * thread.
 */
int mapped_file_read(const struct mapped_source_file *f, uint64_t pages_offset, const struct mapped_run *run,
		     uint8_t *buffer, struct merr *err);

#endif
