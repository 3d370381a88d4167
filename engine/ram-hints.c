/* SPDX-License-Identifier: Apache-2.0 */
/* Free-page hints, as the worker takes them. */
#include "engine/ram-hints.h"

#include <errno.h>

#include "base/bitmap.h"

int ram_hints_start(struct guest_link *g, struct ram *ram, struct merr *err)
{
	struct merr why = MERR_INIT;
	int r = guest_hint_start(g, ram, &why);

	return r == 0 || r == -EOPNOTSUPP ? 0 : merr_copy(err, &why);
}

void ram_hints_drop_dirty(struct ram *ram)
{
	struct ram_file *b;

	for (size_t i = 0; i < ram->n_blocks; i++) {
		b = &ram->blocks[i];
		for (uint64_t w = 0; b->hints.bits && w < bitmap_words(b->n_pages); w++)
			if (__atomic_load_n(&b->hints.bits[w], __ATOMIC_RELAXED) & b->todo[w])
				(void)__atomic_fetch_and(&b->hints.bits[w], ~b->todo[w], __ATOMIC_ACQ_REL);
	}
}

uint64_t ram_hints_skip(struct ram_file *b, uint64_t first, uint64_t end)
{
	uint64_t hinted, n = 0;

	for (uint64_t w = first / BITMAP_WORD_BITS; b->hints.bits && w < bitmap_words(end); w++) {
		if (!__atomic_load_n(&b->hints.bits[w], __ATOMIC_RELAXED))
			continue;
		hinted = __atomic_exchange_n(&b->hints.bits[w], 0, __ATOMIC_ACQUIRE) & b->todo[w];
		b->todo[w] &= ~hinted;
		n += (uint64_t)__builtin_popcountll(hinted);
	}
	return n;
}
