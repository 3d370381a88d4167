/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression of multifd's pages (WIRE.md 5.5).
 *
 * A channel has one compressed stream for all its life: its encoder or decoder, for one thread at a time. A packet's
 * payload is what the stream grew by for its pages, flushed and never finished, so that each packet decodes completely,
 * but only after all before it. Hence an object that failed is of no use any more, nor is its channel.
 *
 * Memory of one object, by level; the source has an encoder a channel, the destination a decoder:
 *
 *              encoder                                         decoder
 *   zlib       0.3 MiB                                         0.05 MiB
 *   zstd       1.3 MiB (1), 5.7 (5), 29 (10), 69 (15),         1 MiB (1), 2.5 (5), 4.5 (10, 15), 32.5 (20): what the
 *              194 (20)                                        stream's header asks for. One that asks for more is refused
 *
 * and for the encoder's output as much as a packet ever became, at most MULTIFD_CODEC_PAYLOAD_MAX.
 */
#ifndef MIGD_ENGINE_MULTIFD_CODEC_H
#define MIGD_ENGINE_MULTIFD_CODEC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "schema/types.h"

/* The most that one packet's pages are, and the most that they may be compressed to: policy, twice the worst case. */
#define MULTIFD_CODEC_RAW_MAX (512U * 1024)
#define MULTIFD_CODEC_PAYLOAD_MAX (1024U * 1024)

/* The bits of a packet's flags that say how it is compressed (WIRE.md 5.4). */
#define MULTIFD_CODEC_FLAGS 0x03eU

/* What KIND puts there: in every packet that has pages; 0 for none. */
uint32_t multifd_codec_flag(enum multi_fd_compression kind);

/* KIND's level in P; 0 for none. */
unsigned int multifd_codec_level(enum multi_fd_compression kind, const struct migration_parameters *p);

/* 0, or -ENOTSUP: this build has no codec for KIND. none can be had always, and has neither encoder nor decoder. */
int multifd_codec_check(enum multi_fd_compression kind, struct merr *err);

struct multifd_encoder;

/* LEVEL as multifd_codec_level() gives it. NULL: no memory, or no such codec. */
struct multifd_encoder *multifd_encoder_new(enum multi_fd_compression kind, unsigned int level, struct merr *err);
struct multifd_encoder *multifd_encoder_free(struct multifd_encoder *e);

/*
 * The payload for PAGES, at least one byte and at most MULTIFD_CODEC_RAW_MAX of them, cut at any place. They may be
 * written while this reads them: what is compressed is a copy, and is what the destination gets. *ret_payload is valid
 * until the next call. 0 or -errno.
 */
int multifd_encode(struct multifd_encoder *e, const struct iovec *pages, size_t n, const void **ret_payload,
		   size_t *ret_len, struct merr *err);

struct multifd_decoder;

/* NULL: no memory, or no such codec. */
struct multifd_decoder *multifd_decoder_new(enum multi_fd_compression kind, struct merr *err);
struct multifd_decoder *multifd_decoder_free(struct multifd_decoder *d);

/*
 * Fill PAGES, cut at any place, from the LEN hostile bytes of a PAYLOAD, which must be exactly that. -EPROTO: it is
 * too long, damaged, decodes to less or to more, or ends the stream; PAGES, and nothing else, may have been written in part.
 */
int multifd_decode(struct multifd_decoder *d, const void *payload, size_t len, const struct iovec *pages,
		   size_t n, struct merr *err);

#endif
