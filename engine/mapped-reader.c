/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving RAM from its places in a file. */
#include "engine/mapped-reader.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bitmap.h"
#include "engine/mapped-layout.h"

struct mapped_reader {
	struct mapped_source_file file;
	struct stats_page *stats;
	struct mapped_pool *pool;
	struct mapped_layout layout;	/* of the block that is being read; constant while the pool works */
};

/* On the pool's threads. */
static int read_run(void *opaque, struct mapped_thread *t, const struct mapped_run *run, struct merr *err)
{
	const struct mapped_reader *r = opaque;

	if (r->stats)
		stats_add(r->stats, received_bytes, run->n * WIRE_PAGE_SIZE);
	return mapped_file_read(&r->file, r->layout.pages_offset, run, t->buffer, err);
}

static int read_pages(struct mapped_reader *r, struct ram_file *b, const uint64_t *bits, struct merr *err)
{
	uint64_t page = 0, run_end;
	struct mapped_run run = { .b = b };
	int res = 0;

	while (res == 0 && (page = bitmap_next_set(bits, b->n_pages, page)) < b->n_pages) {
		run_end = bitmap_next_clear(bits, b->n_pages, page);
		for (; res == 0 && page < run_end; page += run.n) {
			run.page = page;
			run.n = mapped_file_piece_end(b, page, run_end) - page;
			while ((res = mapped_pool_add(r->pool, &run, err)) == -EAGAIN)
				;
		}
	}
	if (res < 0)
		return res;
	while ((res = mapped_pool_drain(r->pool, err)) == -EAGAIN)
		;
	return res;
}

static int read_block(struct mapped_reader *r, struct in *in, struct ram_file *b, uint64_t *bits, struct merr *err)
{
	int res = mapped_file_map(&r->file, in, b, &r->layout, bits, err);

	return res < 0 ? res : read_pages(r, b, bits, err);
}

int mapped_reader_block(struct mapped_reader *r, struct in *in, struct ram_file *b)
{
	uint64_t *bits = ram_bits_new(b->n_pages);
	struct merr why = MERR_INIT;
	int res;

	if (!bits)
		return in_fail(in, -ENOMEM, "block '%s': no memory for a bitmap", b->name);
	res = read_block(r, in, b, bits, &why);
	(void)ram_bits_free(bits, b->n_pages);
	if (res < 0)
		return in_fail(in, res, "section 'ram': block '%s': %s", b->name, merr_msg(&why));
	return in_seek(in, r->layout.end);
}

int mapped_reader_new(const struct mapped_source_file *file, struct stats_page *stats, struct mapped_reader **ret,
		      struct merr *err)
{
	struct mapped_reader *r = calloc(1, sizeof(*r));
	int res;

	if (!r)
		return merr_set_errno(err, -ENOMEM, "mapped-ram");
	r->file = *file;
	r->stats = stats;
	res = mapped_pool_new("mig/dst/recv_", file->n_threads, read_run, r, file->cancel_fd, &r->pool, err);
	if (res < 0) {
		free(r);
		return res;
	}
	*ret = r;
	return 0;
}

struct mapped_reader *mapped_reader_free(struct mapped_reader *r)
{
	if (r)
		r->pool = mapped_pool_free(r->pool);
	free(r);
	return NULL;
}
