/* SPDX-License-Identifier: Apache-2.0 */
/* Freeing what the destination has. */
#include "engine/page-release.h"

#include <fcntl.h>
#include <string.h>

void page_release_sent(struct page_release *p, const struct ram_file *b, uint64_t page, uint64_t n)
{
	size_t last = p->n - 1;

	p->bytes += n * WIRE_PAGE_SIZE;
	/* What an open question is about stays as it was asked. */
	if (p->n > p->n_asked && p->runs[last].block == b && p->runs[last].page + p->runs[last].n == page) {
		p->runs[last].n += n;
	} else if (p->n < PAGE_RELEASE_RUNS) {
		p->runs[p->n].block = b;
		p->runs[p->n].page = page;
		p->runs[p->n++].n = n;
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

/* If the kernel cannot, nothing is lost but room. */
static void free_pages(const struct ram_file *b, uint64_t page, uint64_t n)
{
	(void)fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)(b->fd_offset + page * WIRE_PAGE_SIZE), (off_t)(n * WIRE_PAGE_SIZE));
}

void page_release_answered(struct page_release *p, uint32_t number)
{
	if (!p->n_asked || number != p->number)
		return;
	for (size_t i = 0; i < p->n_asked; i++)
		free_pages(p->runs[i].block, p->runs[i].page, p->runs[i].n);
	p->n -= p->n_asked;
	memmove(p->runs, p->runs + p->n_asked, p->n * sizeof(p->runs[0]));
	p->n_asked = 0;
}
