/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer. */
#ifndef MIGD_BASE_BUF_H
#define MIGD_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise. An append that runs out of memory (or over `max`, if set) sets `error` for good. */
struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	size_t max;	/* 0: none */
	int error;	/* 0, -ENOMEM or -E2BIG: check it once at the end */
};

void buf_done(struct buf *b);
/* Room for LEN bytes at the end, or NULL. Valid until the next append. */
uint8_t *buf_room(struct buf *b, size_t len);
void buf_add(struct buf *b, const void *data, size_t len);
void buf_add_str(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_u8(struct buf *b, uint8_t v);
void buf_be16(struct buf *b, uint16_t v);
void buf_be32(struct buf *b, uint32_t v);
void buf_be64(struct buf *b, uint64_t v);
/* Drop the first N bytes. */
void buf_consume(struct buf *b, size_t n);

#endif
