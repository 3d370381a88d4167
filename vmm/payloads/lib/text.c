/* SPDX-License-Identifier: Apache-2.0 */
/* Text put together in a fixed buffer. */
#include "vmm/payloads/lib/text.h"

struct text text_on(char *buf, uint64_t size_bytes)
{
	buf[0] = '\0';
	return (struct text){ .pos = buf, .last = buf + size_bytes - 1 };
}

static void text_add_char(struct text *t, char c)
{
	if (t->pos == t->last)
		return;
	*t->pos++ = c;
	*t->pos = '\0';
}

void text_add(struct text *t, const char *s)
{
	while (*s)
		text_add_char(t, *s++);
}

void text_add_hex(struct text *t, uint64_t value)
{
	unsigned int shift = 0;

	while (shift < 60 && value >> (shift + 4))
		shift += 4;
	text_add(t, "0x");
	for (;; shift -= 4) {
		text_add_char(t, "0123456789abcdef"[value >> shift & 0xf]);
		if (shift == 0)
			break;
	}
}
