/* SPDX-License-Identifier: Apache-2.0 */
/* Freeing what the destination has. */
#include "engine/page-release.h"

#include <string.h>

#include "engine/ram-fill.h"

void page_release_sent(struct page_release *p, const struct ram_file *b, uint64_t page, uint64_t n)
{
	size_t last = p->n - 1;

	p->bytes += n * WIRE_PAGE_SIZE;
	/* What an open question is about stays as it was asked. */
	if (p->n > p->n_asked && p->runs[last].block == b && p->runs[last].page + p->runs[last].n == page) {
		p->runs[last].n += n;
	} else if (p->n < PAGE_RELEASE_RUNS) {
		p->runs[p->n++] = (struct page_run){ b, page, n };
	}
}

bool page_release_due(const struct page_release *p)
{
	return p->n > 0 && !p->n_asked && p->bytes >= PAGE_RELEASE_BYTES;
}

void page_release_asked(struct page_release *p, uint32_t number)
{
	p->n_asked = p->n;
	p->number = number;
	p->bytes = 0;
}

void page_release_answered(struct page_release *p, uint32_t number)
{
	p->arrived |= p->n_asked && number == p->number;
}

/* Off the front of the run; how many pages. */
static uint64_t free_some(struct page_run *run, uint64_t most)
{
	uint64_t n = ram_is_huge(run->block) ? run->n : min_u64(run->n, most);

	/* If the kernel cannot, nothing is lost but room. */
	(void)ram_fill_punch(run->block, run->page * WIRE_PAGE_SIZE, n * WIRE_PAGE_SIZE);
	run->page += n;
	run->n -= n;
	return n;
}

static void forget_freed(struct page_release *p)
{
	p->n -= p->n_asked;
	memmove(p->runs, p->runs + p->n_asked, p->n * sizeof(p->runs[0]));
	p->n_asked = p->n_freed = 0;
	p->arrived = false;
}

void page_release_piece(struct page_release *p)
{
	uint64_t done = 0;

	if (!p->arrived)
		return;
	while (done < PAGE_RELEASE_PIECE_PAGES && p->n_freed < p->n_asked) {
		struct page_run *run = &p->runs[p->n_freed];

		done += free_some(run, PAGE_RELEASE_PIECE_PAGES - done);
		p->n_freed += run->n == 0;
	}
	if (p->n_freed == p->n_asked)
		forget_freed(p);
}
