/* SPDX-License-Identifier: Apache-2.0 */
/* multifd's codec zstd: one frame of RFC 8878 a channel, flushed after each packet. */
#include <stdlib.h>
#include <zstd.h>

#include "engine/multifd-codec-ops.h"

/* 32 MiB: what level 20, the highest, asks a decoder to keep. The library's own limit is four times that. */
#define WINDOW_LOG_MAX 25

static void *encoder_new(unsigned int level)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();

	if (c && ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, (int)level))) {
		ZSTD_freeCCtx(c);
		return NULL;
	}
	return c;
}

static void encoder_free(void *encoder)
{
	ZSTD_freeCCtx(encoder);
}

static const char *encode(void *encoder, const uint8_t *data, size_t len, bool flush, struct wcur *out)
{
	ZSTD_inBuffer in = { .src = data, .size = len };
	ZSTD_outBuffer to = { .dst = out->p, .size = out->cap, .pos = out->len };
	size_t left;

	do {
		left = ZSTD_compressStream2(encoder, &to, &in, flush ? ZSTD_e_flush : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return ZSTD_getErrorName(left);
	} while ((flush ? left > 0 : in.pos < in.size) && to.pos < to.size);
	out->len = to.pos;
	out->bad = in.pos < in.size || (flush && left > 0);
	return NULL;
}

struct decoder {
	ZSTD_DCtx *stream;
	bool begun;
};

static void decoder_free(void *decoder)
{
	struct decoder *d = decoder;

	ZSTD_freeDCtx(d->stream);
	free(d);
}

static void *decoder_new(void)
{
	struct decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->stream = ZSTD_createDCtx();
	if (!d->stream || ZSTD_isError(ZSTD_DCtx_setParameter(d->stream, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
		decoder_free(d);
		return NULL;
	}
	return d;
}

/* The library also reads what its early versions wrote, and skips what is no data: neither is asked of it here. */
static bool begins_a_frame(const struct rcur *in)
{
	return in->left >= sizeof(uint32_t) && load_le32(in->p) == ZSTD_MAGICNUMBER;
}

static const char *decode(void *decoder, struct rcur *in, uint8_t *out, size_t len, size_t *ret_done)
{
	struct decoder *d = decoder;
	ZSTD_inBuffer from = { .src = in->p, .size = in->left };
	ZSTD_outBuffer to = { .dst = out, .size = len };
	const char *why = NULL;
	size_t r;

	if (!d->begun && !begins_a_frame(in))
		return "it does not begin with a zstd frame";
	d->begun = true;
	do {
		r = ZSTD_decompressStream(d->stream, &to, &from);
		if (ZSTD_isError(r))
			why = ZSTD_getErrorName(r);
		else if (r == 0)
			why = "the frame ends";
	} while (!why && from.pos < from.size && to.pos < to.size);
	(void)rcur_bytes(in, from.pos);
	*ret_done = to.pos;
	return why;
}

const struct multifd_codec_ops multifd_zstd = {
	.flag = 0x004,
	.encoder_new = encoder_new,
	.encoder_free = encoder_free,
	.encode = encode,
	.decoder_new = decoder_new,
	.decoder_free = decoder_free,
	.decode = decode,
};
