/* SPDX-License-Identifier: Apache-2.0 */
/* Compression of multifd's pages: packets and their bounds; multifd-zlib.c and multifd-zstd.c compress. */
#include "engine/multifd-codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/iov.h"
#include "engine/multifd-codec-ops.h"
#include "engine/wire.h"

/* The others are hardware's; none needs nothing. */
static const struct multifd_codec_ops *const codecs[MULTI_FD_COMPRESSION__MAX] = {
	[MULTI_FD_COMPRESSION_ZLIB] = &multifd_zlib,
	[MULTI_FD_COMPRESSION_ZSTD] = &multifd_zstd,
};

uint32_t multifd_codec_flag(enum multi_fd_compression kind)
{
	return codecs[kind] ? codecs[kind]->flag : 0;
}

unsigned int multifd_codec_level(enum multi_fd_compression kind, const struct migration_parameters *p)
{
	switch (kind) {
	case MULTI_FD_COMPRESSION_ZLIB:
		return p->multifd_zlib_level;
	case MULTI_FD_COMPRESSION_ZSTD:
		return p->multifd_zstd_level;
	default:
		return 0;
	}
}

int multifd_codec_check(enum multi_fd_compression kind, struct merr *err)
{
	if (kind == MULTI_FD_COMPRESSION_NONE || codecs[kind])
		return 0;
	return merr_set(err, -ENOTSUP,
			"compression '%s' is not built in: it needs hardware that this build does not drive; "
			"use 'zstd', 'zlib' or 'none'",
			multi_fd_compression_str(kind));
}

/* ---- source ---- */

struct multifd_encoder {
	const struct multifd_codec_ops *ops;
	const char *name;
	void *stream;
	uint8_t page[WIRE_PAGE_SIZE];			/* a copy that does not change while it is compressed */
	uint8_t payload[MULTIFD_CODEC_PAYLOAD_MAX];	/* untouched beyond what was ever needed */
};

struct multifd_encoder *multifd_encoder_new(enum multi_fd_compression kind, unsigned int level, struct merr *err)
{
	struct multifd_encoder *e;

	if (multifd_codec_check(kind, err) < 0 || !codecs[kind])
		return NULL;
	e = malloc(sizeof(*e));
	if (e) {
		e->ops = codecs[kind];
		e->name = multi_fd_compression_str(kind);
		e->stream = e->ops->encoder_new(level);
		if (e->stream)
			return e;
	}
	free(e);
	(void)merr_set(err, -ENOMEM, "compression '%s': no memory for an encoder of level %u",
		       multi_fd_compression_str(kind), level);
	return NULL;
}

struct multifd_encoder *multifd_encoder_free(struct multifd_encoder *e)
{
	if (e)
		e->ops->encoder_free(e->stream);
	free(e);
	return NULL;
}

/* Pages are copied one by one: the copy stays in the nearest cache. */
static const char *encode_part(struct multifd_encoder *e, const struct iovec *part, bool last, struct wcur *out)
{
	const uint8_t *from = part->iov_base;
	const char *why = NULL;
	size_t len;

	for (size_t at = 0; !why && !out->bad && at < part->iov_len; at += len) {
		len = min_u64(part->iov_len - at, sizeof(e->page));
		memcpy(e->page, from + at, len);
		why = e->ops->encode(e->stream, e->page, len, last && at + len == part->iov_len, out);
	}
	return why;
}

int multifd_encode(struct multifd_encoder *e, const struct iovec *pages, size_t n, const void **ret_payload,
		   size_t *ret_len, struct merr *err)
{
	struct wcur out = wcur_of(e->payload, sizeof(e->payload));
	const char *why = NULL;

	/* The flush belongs to the last byte. */
	while (n && !pages[n - 1].iov_len)
		n--;
	if (!n || iov_len(pages, n) > MULTIFD_CODEC_RAW_MAX)
		return merr_set(err, -EINVAL, "compression '%s': %zu bytes are no packet", e->name, iov_len(pages, n));
	for (size_t i = 0; !why && !out.bad && i < n; i++)
		why = encode_part(e, &pages[i], i == n - 1, &out);
	if (out.bad)
		why = "the result is longer than a packet can be";
	if (why)
		return merr_set(err, -EIO, "compression '%s': %s", e->name, why);
	*ret_payload = e->payload;
	*ret_len = out.len;
	return 0;
}

/* ---- destination ---- */

struct multifd_decoder {
	const struct multifd_codec_ops *ops;
	const char *name;
	void *stream;
};

struct multifd_decoder *multifd_decoder_new(enum multi_fd_compression kind, struct merr *err)
{
	struct multifd_decoder *d;

	if (multifd_codec_check(kind, err) < 0 || !codecs[kind])
		return NULL;
	d = malloc(sizeof(*d));
	if (d) {
		d->ops = codecs[kind];
		d->name = multi_fd_compression_str(kind);
		d->stream = d->ops->decoder_new();
		if (d->stream)
			return d;
	}
	free(d);
	(void)merr_set(err, -ENOMEM, "compression '%s': no memory for a decoder", multi_fd_compression_str(kind));
	return NULL;
}

struct multifd_decoder *multifd_decoder_free(struct multifd_decoder *d)
{
	if (d)
		d->ops->decoder_free(d->stream);
	free(d);
	return NULL;
}

/*
 * Once the pages are full nothing may be left, neither of the payload nor of what it decodes to. What ends a payload (zlib's
 * marker of a flush) may not have been read yet: one byte of room makes the codec read on, and nothing may come into it.
 */
static const char *decode_rest(struct multifd_decoder *d, struct rcur *in)
{
	uint8_t room;
	size_t done = 0;
	const char *why = d->ops->decode(d->stream, in, &room, sizeof(room), &done);

	if (done)
		return "it decodes to more than the packet's pages";
	if (!why && in->left)
		return "there are bytes behind its end";
	return why;
}

static const char *decode_pages(struct multifd_decoder *d, struct rcur *in, const struct iovec *pages, size_t n)
{
	const char *why = NULL;
	size_t done;

	for (size_t i = 0; !why && i < n; i++) {
		if (!pages[i].iov_len)
			continue;
		done = 0;
		why = d->ops->decode(d->stream, in, pages[i].iov_base, pages[i].iov_len, &done);
		if (!why && done < pages[i].iov_len)
			why = "it decodes to less than the packet's pages";
	}
	return why ? why : decode_rest(d, in);
}

int multifd_decode(struct multifd_decoder *d, const void *payload, size_t len, const struct iovec *pages,
		   size_t n, struct merr *err)
{
	struct rcur in = rcur_of(payload, len);
	const char *why;

	if (len > MULTIFD_CODEC_PAYLOAD_MAX)
		return merr_set(err, -EPROTO, "compression '%s': a payload of %zu bytes is longer than %u", d->name,
				len, MULTIFD_CODEC_PAYLOAD_MAX);
	why = decode_pages(d, &in, pages, n);
	if (why)
		return merr_set(err, -EPROTO, "compression '%s': payload of %zu bytes, at byte %zu: %s", d->name, len,
				len - in.left, why);
	return 0;
}
