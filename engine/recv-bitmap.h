/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of a block the target has: message RECV_BITMAP of the return path (WIRE.md 6.2), by which the two sides of a
 * broken post-copy agree on what is missing.
 *
 *     be16 type, be16 length, str8 block; then, not counted: be64 size, the bitmap, be64 WIRE_BITMAP_END
 *
 * The bitmap has a bit for each WIRE_PAGE_SIZE, in 64-bit little-endian words: size is 8 for each word, the last one's spare
 * bits are clear.
 */
#ifndef MIGD_ENGINE_RECV_BITMAP_H
#define MIGD_ENGINE_RECV_BITMAP_H

#include "engine/in.h"
#include "engine/ram.h"
#include "transport/chan.h"

/* Target: B's `received` map, as it is now. 0 or -errno, as chan_write(); waits at most 10 s for a source that does not read. */
int recv_bitmap_send(struct chan *chan, const struct ram_file *b);

/*
 * Source, behind the message itself: B's `todo` becomes all that the target does not have. Errors are IN's, also of a map of
 * another size, or with pages that B does not have; `todo` is then of no use until one was read.
 */
int recv_bitmap_read(struct in *in, struct ram_file *b);

#endif
