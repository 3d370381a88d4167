/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target of a mapped-ram file: with a block's entry in the list comes all of its memory, read by threads from where it
 * is. Hostile input: what the file says is checked before a byte of it is used, and nothing is allocated by it.
 *
 * By way of a buffer, for pwrite() neither faults pages of the guest's memory in nor clears them first; past the page cache
 * where the file has no pages there. Measured from a cold cache into a fresh memfd, with a disk of 1.2 to 1.8 GB/s: O_DIRECT
 * by four threads 1.5 to 1.75 GB/s, by two 0.9 to 1.4; read() by the page cache 1.0 to 1.6 (on a busy host 0.3, where O_DIRECT
 * still has 1.1), into a mapping 1.3, splice 0.5 to 1.3, a mapping of the file 0.4.
 */
#ifndef MIGD_ENGINE_MAPPED_READER_H
#define MIGD_ENGINE_MAPPED_READER_H

#include "engine/in.h"
#include "engine/mapped-pool.h"
#include "engine/ram.h"
#include "engine/stats-page.h"

struct mapped_reader;

struct mapped_source_file {
	int fd;			/* the stream's own */
	int direct_fd;		/* the same file with O_DIRECT: better; or -1 */
	unsigned int n_threads;
	int cancel_fd;
};

/* All is borrowed; STATS may be NULL. -errno with ERR. */
int mapped_reader_new(const struct mapped_source_file *file, struct stats_page *stats, struct mapped_reader **ret,
		      struct merr *err);
struct mapped_reader *mapped_reader_free(struct mapped_reader *r);

/*
 * The entry of B, whose pages are holes, was read up to its header: fill B, and leave IN behind it. Errors are IN's. Also for
 * an ignored block, of which no page may have come.
 */
int mapped_reader_block(struct mapped_reader *r, struct in *in, struct ram_file *b);

#endif
