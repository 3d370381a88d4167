/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving RAM from its places in a file. */
#include "engine/mapped-reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "engine/mapped-layout.h"

/* Linux 6.5 has it; the C library's headers may be older. Without it nothing seems to be cached. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

/* What is read at once. Larger runs wait for the disk as a whole before the first byte is in memory. */
#define READ_PAGES 256U

struct mapped_reader {
	struct mapped_source_file file;
	struct stats_page *stats;
	struct mapped_pool *pool;
	struct mapped_layout layout;	/* of the block that is being read; constant while the pool works */
};

/* Whether all of it is in the page cache. (Asked by a read that must not wait, the kernel would begin to read ahead.) */
static bool is_cached(const struct mapped_reader *r, uint64_t len, uint64_t offset)
{
	struct {
		uint64_t off, len;
	} range = { offset, len };
	struct {
		uint64_t n_cache, n_dirty, n_writeback, n_evicted, n_recently_evicted;
	} found = { 0 };

	return syscall(SYS_cachestat, r->file.fd, &range, &found, 0) == 0 &&
	       found.n_cache >= len / (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Nobody reads a page twice: what is not cached goes past the cache, if it can. */
static int read_file(const struct mapped_reader *r, void *p, uint64_t len, uint64_t offset)
{
	bool direct = r->file.direct_fd >= 0 && !is_cached(r, len, offset);

	return fd_pread_full(direct ? r->file.direct_fd : r->file.fd, p, len, offset);
}

static int no_read(uint64_t at, int r, struct merr *err)
{
	return merr_set(err, r, "reading the file at offset %" PRIu64 ": %s", at,
			r == -ENODATA ? "it ends before" : strerror(-r));
}

/* hugetlbfs has no write(): into a mapping of the huge page. RUN is inside one. */
static int read_huge(const struct mapped_reader *r, const struct mapped_run *run, uint64_t at, struct merr *err)
{
	const struct ram_file *b = run->b;
	uint64_t offset = run->page * WIRE_PAGE_SIZE, page = offset / b->page_size * b->page_size;
	uint8_t *p = mmap(NULL, b->page_size, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, (off_t)(b->fd_offset + page));
	int res;

	if (p == MAP_FAILED)
		return merr_set_errno(err, -errno, "mapping a huge page");
	/* Takes the page: when none is left it fails here, not by SIGBUS. */
	if (madvise(p, b->page_size, MADV_POPULATE_WRITE) < 0)
		res = merr_set_errno(err, -errno, "no huge page of %" PRIu64 " bytes left",
				     b->page_size);
	else if ((res = read_file(r, p + (offset - page), run->n * WIRE_PAGE_SIZE, at)) < 0)
		res = no_read(at, res, err);
	(void)munmap(p, b->page_size);
	return res;
}

/* On the pool's threads. */
static int read_run(void *opaque, struct mapped_thread *t, const struct mapped_run *run, struct merr *err)
{
	const struct mapped_reader *r = opaque;
	const struct ram_file *b = run->b;
	uint64_t len = run->n * WIRE_PAGE_SIZE, at = r->layout.pages_offset + run->page * WIRE_PAGE_SIZE;
	int res;

	if (r->stats)
		stats_add(r->stats, received_bytes, len);
	if (ram_is_huge(b))
		return read_huge(r, run, at, err);
	res = read_file(r, t->buffer, len, at);
	if (res < 0)
		return no_read(at, res, err);
	res = fd_pwrite_full(b->fd, t->buffer, len, b->fd_offset + run->page * WIRE_PAGE_SIZE);
	if (res < 0)
		return merr_set_errno(err, res, "writing guest memory at page %" PRIu64, run->page);
	return 0;
}

/* The end of what can be read at once from PAGE on: of the run, of a piece, of a huge page. */
static uint64_t piece_end(const struct ram_file *b, uint64_t page, uint64_t run_end)
{
	uint64_t per = b->page_size / WIRE_PAGE_SIZE, end = min_u64(run_end, page + READ_PAGES);

	return ram_is_huge(b) ? min_u64(end, (page / per + 1) * per) : end;
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
			run.n = piece_end(b, page, run_end) - page;
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

/* Where the file has the block, and which pages. */
static int read_map(struct mapped_reader *r, struct in *in, const struct ram_file *b, uint64_t *bits, struct merr *err)
{
	uint8_t header[MAPPED_HEADER_LEN];
	struct stat st;
	uint64_t at;
	int res;

	if (in_tell(in, &at) < 0 || in_bytes(in, header, sizeof(header)) < 0)
		return in_error(in);
	if (fstat(r->file.fd, &st) < 0)
		return merr_set_errno(err, -errno, "the file");
	res = mapped_header_parse(header, at, b->n_pages, (uint64_t)st.st_size, &r->layout, err);
	if (res < 0)
		return res;
	res = fd_pread_full(r->file.fd, bits, r->layout.bitmap_len, r->layout.bitmap_offset);
	return res < 0 ? no_read(r->layout.bitmap_offset, res, err) : mapped_bitmap_check(bits, b->n_pages, err);
}

static int read_block(struct mapped_reader *r, struct in *in, struct ram_file *b, uint64_t *bits, struct merr *err)
{
	int res = read_map(r, in, b, bits, err);

	if (res < 0)
		return res;
	b->named = bitmap_next_set(bits, b->n_pages, 0) < b->n_pages;
	if (b->named && b->ignored)
		return merr_set(err, -EBADMSG, "field 'mapped-ram bitmap' has pages, and the block is shared memory here: "
				"x-ignore-shared must be on on both sides, and the VMMs must agree on what is shared");
	if (b->named && b->handed)
		return merr_set(err, -EBADMSG, "field 'mapped-ram bitmap' has pages, and the block was handed over");
	return read_pages(r, b, bits, err);
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
