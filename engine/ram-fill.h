/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting what was received into guest memory, each the cheapest way there is for the block. Any number of threads, each with
 * a stream of its own: a source never sends a page on two of them between two syncs. What a block holds already is known by
 * its `filled`. Offsets and lengths are whole pages inside the block; errors are IN's.
 */
#ifndef MIGD_ENGINE_RAM_FILL_H
#define MIGD_ENGINE_RAM_FILL_H

#include "engine/in.h"
#include "engine/ram.h"

/* The next LEN bytes of the stream. */
int ram_fill_stream(struct in *in, struct ram_file *b, uint64_t offset, uint64_t len);

/* LEN bytes that are in memory of ours. */
int ram_fill_bytes(struct in *in, struct ram_file *b, uint64_t offset, const uint8_t *bytes, uint64_t len);

/* Zeros. They cost nothing where nothing was received yet; elsewhere the pages are given back. */
int ram_fill_zero(struct in *in, struct ram_file *b, uint64_t offset, uint64_t len);

/* hugetlbfs: the huge page at OFFSET is there afterwards, zero if it was not before. 0 or -errno. */
int ram_fill_populate(const struct ram_file *b, uint64_t offset);

/* Give the memory back, whatever is there: it reads as zeros. 0 or -errno. */
int ram_fill_punch(const struct ram_file *b, uint64_t offset, uint64_t len);

#endif
