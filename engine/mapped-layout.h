/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a mapped-ram file has what of a RAM block (WIRE.md 8.2). Behind the block's entry in the list of blocks there are,
 * one after the other,
 *
 *     header, 28 bytes > bitmap > up to a multiple of 1 MiB: the pages, each at its own place > the next entry, or record
 *
 * A page whose bit is clear is zero, whatever the file has there. The bitmap is an array of native words, and nothing in
 * the file says whose: both sides are little-endian. Only bytes and numbers; hostile ones end here.
 */
#ifndef MIGD_ENGINE_MAPPED_LAYOUT_H
#define MIGD_ENGINE_MAPPED_LAYOUT_H

#include <stdint.h>

#include "base/err.h"

#define MAPPED_HEADER_LEN 28U

/* Offsets are the file's, wherever in it the stream begins. */
struct mapped_layout {
	uint64_t bitmap_offset;
	uint64_t bitmap_len;	/* whole words */
	uint64_t pages_offset;
	uint64_t end;		/* of the pages */
};

/* Writer: of a block of N_PAGES whose header begins at AT. -EFBIG: there is no such place in a file. */
int mapped_layout(uint64_t at, uint64_t n_pages, struct mapped_layout *ret);
void mapped_header_put(const struct mapped_layout *l, uint8_t to[MAPPED_HEADER_LEN]);

/*
 * Reader: the header FROM, which was at AT, of a block of N_PAGES in a file of FILE_LEN bytes. *ret lies inside the file, and
 * its parts do not overlap each other, nor what came before. -EBADMSG with ERR, which names the field.
 */
int mapped_header_parse(const uint8_t from[MAPPED_HEADER_LEN], uint64_t at, uint64_t n_pages, uint64_t file_len,
			struct mapped_layout *ret, struct merr *err);
/* -EBADMSG with ERR if BITS has a page beyond the last one. */
int mapped_bitmap_check(const uint64_t *bits, uint64_t n_pages, struct merr *err);

#endif
