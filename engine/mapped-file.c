/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a mapped-ram file. */
#include "engine/mapped-file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/fd.h"

/* Linux 6.5 has it; the C library's headers may be older. Without it nothing seems to be cached. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

/* What is read at once. Larger runs wait for the disk as a whole before the first byte is in memory. */
#define READ_PAGES 256U

/* Whether all of it is in the page cache. (Asked by a read that must not wait, the kernel would begin to read ahead.) */
static bool is_cached(const struct mapped_source_file *f, uint64_t len, uint64_t offset)
{
	struct {
		uint64_t off, len;
	} range = { offset, len };
	struct {
		uint64_t n_cache, n_dirty, n_writeback, n_evicted, n_recently_evicted;
	} found = { 0 };

	return syscall(SYS_cachestat, f->fd, &range, &found, 0) == 0 &&
	       found.n_cache >= len / (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Nobody reads a page twice: what is not cached goes past the cache, if it can. */
static int read_file(const struct mapped_source_file *f, void *p, uint64_t len, uint64_t offset)
{
	bool direct = f->direct_fd >= 0 && !is_cached(f, len, offset);
	int r = FAULT_FAILS("file.page-read");

	return r < 0 ? r : fd_pread_full(direct ? f->direct_fd : f->fd, p, len, offset);
}

static int no_read(uint64_t at, int r, struct merr *err)
{
	return merr_set(err, r, "reading the file at offset %" PRIu64 ": %s", at,
			r == -ENODATA ? "it ends before" : strerror(-r));
}

/* hugetlbfs has no write(): into a mapping of the huge page. RUN is inside one. */
static int read_huge(const struct mapped_source_file *f, const struct mapped_run *run, uint64_t at, struct merr *err)
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
	else if ((res = read_file(f, p + (offset - page), run->n * WIRE_PAGE_SIZE, at)) < 0)
		res = no_read(at, res, err);
	(void)munmap(p, b->page_size);
	return res;
}

int mapped_file_read(const struct mapped_source_file *f, uint64_t pages_offset, const struct mapped_run *run,
		     uint8_t *buffer, struct merr *err)
{
	const struct ram_file *b = run->b;
	uint64_t len = run->n * WIRE_PAGE_SIZE, at = pages_offset + run->page * WIRE_PAGE_SIZE;
	int r;

	if (ram_is_huge(b))
		return read_huge(f, run, at, err);
	r = read_file(f, buffer, len, at);
	if (r < 0)
		return no_read(at, r, err);
	r = fd_pwrite_full(b->fd, buffer, len, b->fd_offset + run->page * WIRE_PAGE_SIZE);
	return r < 0 ? merr_set_errno(err, r, "writing guest memory at page %" PRIu64, run->page) : 0;
}

uint64_t mapped_file_piece_end(const struct ram_file *b, uint64_t page, uint64_t run_end)
{
	uint64_t per = b->page_size / WIRE_PAGE_SIZE, end = min_u64(run_end, page + READ_PAGES);

	return ram_is_huge(b) ? min_u64(end, (page / per + 1) * per) : end;
}

int mapped_file_read_bits(const struct mapped_source_file *f, uint64_t offset, const struct ram_file *b, uint64_t *bits,
			  struct merr *err)
{
	int r = FAULT_FAILS("file.bitmap-read");

	if (r == 0)
		r = fd_pread_full(f->fd, bits, bitmap_words(b->n_pages) * sizeof(*bits), offset);
	return r < 0 ? no_read(offset, r, err) : mapped_bitmap_check(bits, b->n_pages, err);
}

/* No page of it may come. */
static int check_left_out(const struct ram_file *b, struct merr *err)
{
	if (b->named && b->ignored)
		return merr_set(err, -EBADMSG, "field 'mapped-ram bitmap' has pages, and the block is shared memory here: "
				"x-ignore-shared must be on on both sides, and the VMMs must agree on what is shared");
	if (b->named && b->handed)
		return merr_set(err, -EBADMSG, "field 'mapped-ram bitmap' has pages, and the block was handed over");
	return 0;
}

int mapped_file_map(const struct mapped_source_file *f, struct in *in, struct ram_file *b, struct mapped_layout *ret,
		    uint64_t *bits, struct merr *err)
{
	uint8_t header[MAPPED_HEADER_LEN];
	struct stat st;
	uint64_t at;
	int r;

	if (in_tell(in, &at) < 0 || in_bytes(in, header, sizeof(header)) < 0)
		return in_error(in);
	if (fstat(f->fd, &st) < 0)
		return merr_set_errno(err, -errno, "the file");
	r = mapped_header_parse(header, at, b->n_pages, (uint64_t)st.st_size, ret, err);
	if (r == 0)
		r = mapped_file_read_bits(f, ret->bitmap_offset, b, bits, err);
	if (r < 0)
		return r;
	b->named = bitmap_next_set(bits, b->n_pages, 0) < b->n_pages;
	return check_left_out(b, err);
}
