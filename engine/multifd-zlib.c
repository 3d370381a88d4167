/* SPDX-License-Identifier: Apache-2.0 */
/* multifd's codec zlib: one stream of RFC 1950 a channel, with a sync flush after each packet. */
#include <stdlib.h>
#include <zlib.h>

#include "engine/multifd-codec-ops.h"

static void *encoder_new(unsigned int level)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z && deflateInit(z, (int)level) != Z_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static void encoder_free(void *encoder)
{
	(void)deflateEnd(encoder);
	free(encoder);
}

static const char *encode(void *encoder, const uint8_t *data, size_t len, bool flush, struct wcur *out)
{
	z_stream *z = encoder;
	size_t room = out->cap - out->len;
	int r;

	z->next_in = (Bytef *)(uintptr_t)data; /* only read: zlib's own header says const where it is asked to */
	z->avail_in = (uInt)len;
	z->next_out = out->p + out->len;
	z->avail_out = (uInt)room;
	r = deflate(z, flush ? Z_SYNC_FLUSH : Z_NO_FLUSH);
	out->len += room - z->avail_out;
	/* With no room left there may be more to come. */
	out->bad = z->avail_out == 0;
	return r == Z_OK || out->bad ? NULL : "zlib is in a wrong state";
}

static void *decoder_new(void)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z && inflateInit(z) != Z_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static void decoder_free(void *decoder)
{
	(void)inflateEnd(decoder);
	free(decoder);
}

static const char *decode(void *decoder, struct rcur *in, uint8_t *out, size_t len, size_t *ret_done)
{
	z_stream *z = decoder;
	int r;

	z->next_in = (Bytef *)(uintptr_t)in->p;
	z->avail_in = (uInt)in->left;
	z->next_out = out;
	z->avail_out = (uInt)len;
	r = inflate(z, Z_SYNC_FLUSH);
	(void)rcur_bytes(in, in->left - z->avail_in);
	*ret_done = len - z->avail_out;
	switch (r) {
	case Z_OK:
	case Z_BUF_ERROR: /* nothing could be done, which is no error */
		return NULL;
	case Z_STREAM_END:
		return "the stream ends";
	case Z_NEED_DICT:
		return "a dictionary is asked for";
	case Z_MEM_ERROR:
		return "there is no memory to decode it";
	default:
		return z->msg ? z->msg : "it is damaged";
	}
}

const struct multifd_codec_ops multifd_zlib = {
	.flag = 0x002,
	.encoder_new = encoder_new,
	.encoder_free = encoder_free,
	.encode = encode,
	.decoder_new = decoder_new,
	.decoder_free = decoder_free,
	.decode = decode,
};
