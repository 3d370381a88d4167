/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target of a mapped-ram file: with a block's entry in the list comes all of its memory, read by threads from where it
 * is (engine/mapped-file.h).
 */
#ifndef MIGD_ENGINE_MAPPED_READER_H
#define MIGD_ENGINE_MAPPED_READER_H

#include "engine/in.h"
#include "engine/mapped-file.h"
#include "engine/ram.h"
#include "engine/stats-page.h"

struct mapped_reader;

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
