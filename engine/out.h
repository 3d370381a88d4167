/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outgoing stream: gathers small writes and references to page data, and sends them with few system calls.
 *
 * One thread. Errors stick: after the first one every call does nothing, out_error() tells. Referenced bytes must stay
 * valid until the next out_flush().
 */
#ifndef MIGD_ENGINE_OUT_H
#define MIGD_ENGINE_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "engine/rate.h"
#include "engine/stats-page.h"
#include "transport/chan.h"

struct out;

/* Called when the peer said something while the stream was stuck; 0: go on; 1: and leave the rest of it for later; -errno: stop. */
typedef int (*out_input_fn)(void *opaque);

/* CHAN, RATE, STATS are borrowed. NULL: no memory. */
struct out *out_new(struct chan *chan, struct rate *rate, struct stats_page *stats, int cancel_fd);
struct out *out_free(struct out *o);
void out_on_input(struct out *o, out_input_fn fn, void *opaque);

/* At most so many bytes should be queued before a flush: what a limited bandwidth allows in 100 ms, or all that is useful. */
uint64_t out_batch_bytes(const struct out *o);

void out_u8(struct out *o, uint8_t v);
void out_be16(struct out *o, uint16_t v);
void out_be32(struct out *o, uint32_t v);
void out_be64(struct out *o, uint64_t v);
void out_str8(struct out *o, const char *s);	/* at most 255 bytes */
void out_bytes(struct out *o, const void *p, size_t len);	/* copied if small, else sent at once */
void out_ref(struct out *o, const void *p, size_t len);		/* not copied */

/* The stream is a file: flush; *ret: where in the file it goes on (chan_tell). Then, go on elsewhere. 0 or the sticky error. */
int out_tell(struct out *o, uint64_t *ret);
int out_seek(struct out *o, uint64_t offset);

int out_flush(struct out *o);		/* 0 or the sticky error */
int out_error(const struct out *o);
int out_fail(const struct out *o, int r, const char *what, struct merr *err);	/* chan_fail() */
uint64_t out_offset(const struct out *o);	/* bytes written or queued since the start */

#endif
