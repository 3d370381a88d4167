/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of an incoming guest are as they are to be. */
#include "engine/received.h"

#include "base/bitmap.h"

void received_set_all(struct ram *ram)
{
	for (size_t i = 0; i < ram->n_blocks; i++)
		(void)bitmap_atomic_claim_range(ram->blocks[i].received.bits, 0, ram->blocks[i].n_pages);
}

uint64_t received_discard(struct ram_file *b, uint64_t page, uint64_t n)
{
	return bitmap_atomic_clear_range(b->received.bits, page, n);
}

bool received_has(const struct ram_file *b, uint64_t page)
{
	return bitmap_atomic_test(b->received.bits, page);
}

uint64_t received_add(struct ram_file *b, uint64_t page, uint64_t n)
{
	return bitmap_atomic_claim_range(b->received.bits, page, n);
}

uint64_t received_count_missing(const struct ram *ram)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ram->n_blocks; i++)
		n += ram->blocks[i].n_pages -
		     bitmap_count_range(ram->blocks[i].received.bits, 0, ram->blocks[i].n_pages);
	return n;
}

bool received_find_missing(const struct ram *ram, const struct ram_file **ret_block, uint64_t *ret_page)
{
	const struct ram_file *b;

	for (size_t i = 0; i < ram->n_blocks; i++) {
		b = &ram->blocks[i];
		*ret_page = bitmap_next_clear(b->received.bits, b->n_pages, 0);
		*ret_block = b;
		if (*ret_page < b->n_pages)
			return true;
	}
	return false;
}
