/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multifd's decoders over any payloads, of a stream of packets: u8 which codec; for each packet u8 pages, be16 length, payload.
 * And the encoders: the same bytes as pages must arrive.
 */
/* LIBS: migd_engine */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/multifd-codec.h"
#include "engine/wire.h"

#define PAGES_MAX 8U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* From the heap, of exactly the size: a sanitizer sees a step outside. */
static void *heap(const void *from, size_t len)
{
	void *p = malloc(len ? len : 1);

	if (!p)
		abort();
	if (from)
		memcpy(p, from, len);
	return p;
}

static int decode(struct multifd_decoder *d, const void *payload, size_t len, uint8_t *pages, size_t n)
{
	struct iovec iov[2] = { { pages, WIRE_PAGE_SIZE }, { pages + WIRE_PAGE_SIZE, (n - 1) * WIRE_PAGE_SIZE } };
	struct merr err = MERR_INIT;
	int r = multifd_decode(d, payload, len, iov, n > 1 ? 2 : 1, &err);

	if (r < 0 && (r != -EPROTO || !merr_is_set(&err)))
		abort();
	return r;
}

static void decode_packets(enum multi_fd_compression kind, struct rcur c)
{
	struct multifd_decoder *d = multifd_decoder_new(kind, NULL);
	uint8_t *pages, *payload;
	const uint8_t *bytes;
	size_t n, len;
	int r = 0;

	if (!d)
		abort();
	while (r == 0 && c.left) {
		n = rcur_u8(&c) % PAGES_MAX + 1;
		len = rcur_be16(&c);
		bytes = rcur_bytes(&c, min_u64(len, c.left));
		if (!bytes)
			break;
		payload = heap(bytes, (size_t)(c.p - bytes));
		pages = heap(NULL, n * WIRE_PAGE_SIZE);
		r = decode(d, payload, (size_t)(c.p - bytes), pages, n);
		free(payload);
		free(pages);
	}
	multifd_decoder_free(d);
}

static void round_trip(enum multi_fd_compression kind, unsigned int level, struct rcur c)
{
	struct multifd_encoder *e = multifd_encoder_new(kind, level, NULL);
	struct multifd_decoder *d = multifd_decoder_new(kind, NULL);
	uint8_t *pages, *got;
	const void *payload;
	size_t n, len, have;

	if (!e || !d)
		abort();
	while (c.left) {
		n = rcur_u8(&c) % PAGES_MAX + 1;
		have = min_u64(c.left, n * WIRE_PAGE_SIZE);
		pages = heap(NULL, n * WIRE_PAGE_SIZE);
		memset(pages, 0, n * WIRE_PAGE_SIZE);
		memcpy(pages, rcur_bytes(&c, have), have);
		got = heap(NULL, n * WIRE_PAGE_SIZE);
		if (multifd_encode(e, &(struct iovec){ pages, n * WIRE_PAGE_SIZE }, 1, &payload, &len, NULL) < 0 ||
		    decode(d, payload, len, got, n) < 0 || memcmp(got, pages, n * WIRE_PAGE_SIZE) != 0)
			abort();
		free(pages);
		free(got);
	}
	multifd_encoder_free(e);
	multifd_decoder_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rcur c = rcur_of(data, size);
	uint8_t head = rcur_u8(&c);
	enum multi_fd_compression kind = head & 1 ? MULTI_FD_COMPRESSION_ZSTD : MULTI_FD_COMPRESSION_ZLIB;

	if (size == 0 || size > 65536)
		return 0;
	decode_packets(kind, c);
	round_trip(kind, head / 2 % 10, c);
	return 0;
}
