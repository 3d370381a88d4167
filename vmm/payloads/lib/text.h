/* SPDX-License-Identifier: Apache-2.0 */
/* Text put together in a fixed buffer: always terminated, cut off where the buffer ends. */
#ifndef MIGD_VMM_PAYLOADS_TEXT_H
#define MIGD_VMM_PAYLOADS_TEXT_H

#include <stdint.h>

struct text {
	char *pos;
	char *last; /* the byte kept for the terminator */
};

struct text text_on(char *buf, uint64_t size_bytes);
void text_add(struct text *t, const char *s);
/* In hexadecimal, with 0x and no leading zeros. */
void text_add_hex(struct text *t, uint64_t value);

#endif
