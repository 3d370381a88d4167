/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer. */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define BUF_FIRST_CAP 256

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ .max = b->max };
}

uint8_t *buf_room(struct buf *b, size_t len)
{
	size_t want, cap = b->cap ? b->cap : BUF_FIRST_CAP;
	uint8_t *data;

	if (b->error)
		return NULL;
	if (__builtin_add_overflow(b->len, len, &want) || (b->max && want > b->max)) {
		b->error = -E2BIG;
		return NULL;
	}
	if (want > b->cap) {
		while (cap < want && cap <= SIZE_MAX / 2)
			cap *= 2;
		data = realloc(b->data, cap);
		if (!data || cap < want) {
			b->error = -ENOMEM;
			return NULL;
		}
		b->data = data;
		b->cap = cap;
	}
	b->len = want;
	return b->data + want - len;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	uint8_t *p = len > 0 ? buf_room(b, len) : NULL;

	if (p)
		memcpy(p, data, len);
}

void buf_add_str(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	uint8_t *p;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	/* One byte more for the NUL, given back after. */
	p = n < 0 ? NULL : buf_room(b, (size_t)n + 1);
	if (p) {
		(void)vsnprintf((char *)p, (size_t)n + 1, fmt, again);
		b->len--;
	}
	va_end(again);
}

#define DEFINE_BUF_PUT(name, type, store)              \
	void buf_##name(struct buf *b, type v)         \
	{                                              \
		uint8_t *p = buf_room(b, sizeof(v));   \
		if (p)                                 \
			store(p, v);                   \
	}
DEFINE_BUF_PUT(u8, uint8_t, store_u8)
DEFINE_BUF_PUT(be16, uint16_t, store_be16)
DEFINE_BUF_PUT(be32, uint32_t, store_be32)
DEFINE_BUF_PUT(be64, uint64_t, store_be64)

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}
