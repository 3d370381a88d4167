/* SPDX-License-Identifier: Apache-2.0 */
/* What a codec of multifd is to engine/multifd-codec.c, which knows about packets and bounds. */
#ifndef MIGD_ENGINE_MULTIFD_CODEC_OPS_H
#define MIGD_ENGINE_MULTIFD_CODEC_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct multifd_codec_ops {
	uint32_t flag;	/* WIRE.md 5.4 */

	/* NULL: no memory. */
	void *(*encoder_new)(unsigned int level);
	void (*encoder_free)(void *encoder);
	/*
	 * Compress LEN bytes, which do not change meanwhile. FLUSH: all that was fed until now is in OUT afterwards. NULL, or why
	 * not; OUT's being full is left to the caller to find in OUT->bad.
	 */
	const char *(*encode)(void *encoder, const uint8_t *data, size_t len, bool flush, struct wcur *out);

	/* NULL: no memory. */
	void *(*decoder_new)(void);
	void (*decoder_free)(void *decoder);
	/*
	 * Decode from IN until LEN bytes are in OUT or IN has no more; how many there are in *ret_done. NULL, or what is wrong
	 * with IN, whose `left` then says where; the end of the stream is wrong.
	 */
	const char *(*decode)(void *decoder, struct rcur *in, uint8_t *out, size_t len, size_t *ret_done);
};

extern const struct multifd_codec_ops multifd_zlib, multifd_zstd;

#endif
