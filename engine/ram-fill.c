/* SPDX-License-Identifier: Apache-2.0 */
/* Putting what was received into guest memory. */
#include "engine/ram-fill.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/fd.h"

int ram_fill_punch(const struct ram_file *b, uint64_t offset, uint64_t len)
{
	if (fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(b->fd_offset + offset), (off_t)len) < 0)
		return -errno;
	return 0;
}

int ram_fill_populate(const struct ram_file *b, uint64_t offset)
{
	void *p = mmap(NULL, b->page_size, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, (off_t)(b->fd_offset + offset));
	int r;

	if (p == MAP_FAILED)
		return -errno;
	/* When none is left it fails here, not by SIGBUS. */
	r = madvise(p, b->page_size, MADV_POPULATE_WRITE) < 0 ? -errno : 0;
	(void)munmap(p, b->page_size);
	return r;
}

/* Where the bytes come from that fill_huge() writes. */
enum from { FROM_STREAM, FROM_ZEROS, FROM_BUFFER };

/* LEN bytes at OFFSET of a block in huge pages, one huge page mapped at a time. BUFFER is for FROM_BUFFER. */
static int fill_huge(struct in *in, const struct ram_file *b, uint64_t offset, uint64_t len,
		     enum from from, const uint8_t *buffer)
{
	uint64_t page, at, n;
	uint8_t *p;
	int r = 0;

	for (; len > 0 && r == 0; offset += n, len -= n) {
		page = offset / b->page_size * b->page_size;
		at = offset - page;
		n = min_u64(len, b->page_size - at);
		p = mmap(NULL, b->page_size, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd,
			 (off_t)(b->fd_offset + page));
		if (p == MAP_FAILED)
			return in_fail(in, -errno, "block '%s': mapping a huge page: %s", b->name,
				       strerror(errno));
		/* Takes the page: when none is left it fails here, not by SIGBUS in the copy. */
		if (madvise(p, b->page_size, MADV_POPULATE_WRITE) < 0)
			r = in_fail(in, -errno, "block '%s': no huge page of %" PRIu64 " bytes left: %s",
				    b->name, b->page_size, strerror(errno));
		else if (from == FROM_ZEROS)
			memset(p + at, 0, n);
		else if (from == FROM_BUFFER)
			memcpy(p + at, buffer, n);
		else
			r = in_bytes(in, p + at, n);
		(void)munmap(p, b->page_size);
	}
	return r;
}

int ram_fill_stream(struct in *in, struct ram_file *b, uint64_t offset, uint64_t len)
{
	bitmap_atomic_or_range(b->filled, offset / WIRE_PAGE_SIZE, len / WIRE_PAGE_SIZE);
	if (ram_is_huge(b))
		return fill_huge(in, b, offset, len, FROM_STREAM, NULL);
	return in_to_file(in, b->fd, b->fd_offset + offset, len, b->name);
}

int ram_fill_zero(struct in *in, struct ram_file *b, uint64_t offset, uint64_t len)
{
	uint64_t page = offset / WIRE_PAGE_SIZE, end = page + len / WIRE_PAGE_SIZE, stop;
	int r;

	for (;;) {
		page = bitmap_next_set(b->filled, end, page);
		if (page == end)
			return 0;
		stop = bitmap_next_clear(b->filled, end, page);
		offset = page * WIRE_PAGE_SIZE;
		len = (stop - page) * WIRE_PAGE_SIZE;
		if (ram_is_huge(b)) {
			r = fill_huge(in, b, offset, len, FROM_ZEROS, NULL);
			if (r < 0)
				return r;
		} else {
			r = ram_fill_punch(b, offset, len);
			if (r < 0)
				return in_fail(in, r, "block '%s': clearing pages: %s", b->name,
					       strerror(-r));
		}
		(void)bitmap_atomic_clear_range(b->filled, page, stop - page);
		page = stop;
	}
}

int ram_fill_bytes(struct in *in, struct ram_file *b, uint64_t offset, const uint8_t *bytes, uint64_t len)
{
	int r;

	bitmap_atomic_or_range(b->filled, offset / WIRE_PAGE_SIZE, len / WIRE_PAGE_SIZE);
	if (ram_is_huge(b))
		return fill_huge(in, b, offset, len, FROM_BUFFER, bytes);
	r = fd_pwrite_full(b->fd, bytes, len, b->fd_offset + offset);
	return r < 0 ? in_fail(in, r, "block '%s': writing %" PRIu64 " bytes at 0x%" PRIx64 ": %s", b->name, len,
			       offset, strerror(-r)) : 0;
}
