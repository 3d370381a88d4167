/* SPDX-License-Identifier: Apache-2.0 */
/* The memory functions that compilers call on their own. */
#include <stddef.h>

void *memset(void *to, int byte, size_t len_bytes);
void *memcpy(void *restrict to, const void *restrict from, size_t len_bytes);

void *memset(void *to, int byte, size_t len_bytes)
{
	void *pos = to;

	__asm__ volatile("rep stosb" : "+D"(pos), "+c"(len_bytes) : "a"(byte) : "memory");
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t len_bytes)
{
	void *pos = to;

	__asm__ volatile("rep movsb" : "+D"(pos), "+S"(from), "+c"(len_bytes) : : "memory");
	return to;
}
