/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XBZRLE decoder over any bytes; and the encoder, whose code must decode: the input is taken for a code and also for what
 * changed in a page.
 */
/* LIBS: migd_engine */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/xbzrle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const uint8_t *data, size_t size, uint8_t *page)
{
	const char *why = NULL;
	size_t at = SIZE_MAX;
	int r = xbzrle_decode(data, size, page, &why, &at);

	if (r < 0 && (r != -EBADMSG || !why || at > size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* From the heap, each of its exact size: a sanitizer sees a step outside. */
	uint8_t *page, *old, *code;
	int n;

	if (size > XBZRLE_PAGE)
		return 0;
	page = calloc(1, XBZRLE_PAGE);
	old = calloc(1, XBZRLE_PAGE);
	code = malloc(XBZRLE_PAGE);
	if (!page || !old || !code)
		abort();
	decode(data, size, page);
	n = xbzrle_encode(kernels_best(), old, page, code);
	if (n > 0) {
		decode(code, (size_t)n, old);
		if (memcmp(old, page, XBZRLE_PAGE) != 0)
			abort();
	} else if (n == 0 && memcmp(old, page, XBZRLE_PAGE) != 0) {
		abort();
	}
	/* The input as content: dense, so that it may not fit. */
	memset(old, 0x55, XBZRLE_PAGE);
	memcpy(page, old, XBZRLE_PAGE);
	memcpy(page, data, size);
	n = xbzrle_encode(kernels_best(), old, page, code);
	if (n < 0 && n != -EOVERFLOW)
		abort();
	if (n > 0) {
		decode(code, (size_t)n, old);
		if (memcmp(old, page, XBZRLE_PAGE) != 0)
			abort();
	}
	free(page);
	free(old);
	free(code);
	return 0;
}
