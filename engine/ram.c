/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's RAM blocks as a worker sees them. */
#include "engine/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "engine/ram-units.h"

static int check_row(const struct ram *ram, const struct attach_ram_block *row, int fd,
		     uint64_t *ret_file_len, struct merr *err)
{
	uint64_t end;
	struct stat st;

	if (ram->n_blocks == ATTACH_RAM_BLOCKS_MAX)
		return merr_set(err, -EBADMSG, "more than %u RAM blocks", ATTACH_RAM_BLOCKS_MAX);
	if (!row->name[0] || row->len == 0 || row->len % WIRE_PAGE_SIZE ||
	    row->fd_offset % WIRE_PAGE_SIZE || !add_ok(row->fd_offset, row->len, &end))
		return merr_set(err, -EBADMSG, "RAM block '%s': bad length or offset", row->name);
	if (row->page_size < WIRE_PAGE_SIZE || row->page_size & (row->page_size - 1) || row->len % row->page_size)
		return merr_set(err, -EBADMSG, "RAM block '%s': bad page size %" PRIu64, row->name,
				row->page_size);
	if (fstat(fd, &st) < 0)
		return merr_set_errno(err, -errno, "RAM block '%s'", row->name);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < end)
		return merr_set(err, -EBADMSG, "RAM block '%s': its file has %" PRIu64 " of %" PRIu64
				" bytes", row->name, (uint64_t)st.st_size, end);
	*ret_file_len = (uint64_t)st.st_size;
	return 0;
}

int ram_add(struct ram *ram, const struct attach_ram_block *row, int fd, struct merr *err)
{
	_cleanup_close_ int own = fd;
	struct ram_file *b;
	uint64_t file_len = 0;
	int r;

	r = check_row(ram, row, own, &file_len, err);
	if (r < 0)
		return r;
	if (ram_find(ram, row->name))
		return merr_set(err, -EBADMSG, "RAM block '%s' is there twice", row->name);
	b = &ram->blocks[ram->n_blocks++];
	*b = (struct ram_file){ .fd = TAKE_FD(own),
				.fd_offset = row->fd_offset,
				.file_len = file_len,
				.len = row->len,
				.n_pages = row->len / WIRE_PAGE_SIZE,
				.first_page = ram->total_bytes / WIRE_PAGE_SIZE,
				.page_size = row->page_size,
				.gpa = row->gpa,
				.host_base = row->host_base,
				.flags = row->flags & ~ATTACH_RAM_HANDED,
				.handed = row->flags & ATTACH_RAM_HANDED };
	memcpy(b->name, row->name, sizeof(b->name));
	ram->total_bytes += row->len;
	return 0;
}

int ram_check_sizes(const struct ram *ram, struct merr *err)
{
	const struct ram_file *b;
	struct stat st;

	for (size_t i = 0; i < ram->n_blocks; i++) {
		b = &ram->blocks[i];
		if (fstat(b->fd, &st) < 0)
			return merr_set_errno(err, -errno, "RAM block '%s'", b->name);
		if ((uint64_t)st.st_size != b->file_len)
			return merr_set(err, -EBUSY, "the file of RAM block '%s' had %" PRIu64 " bytes and has %" PRIu64
					" now: guest memory cannot be resized while it migrates", b->name,
					b->file_len, (uint64_t)st.st_size);
	}
	return 0;
}

/* Whole pages from the kernel, zero: untouched parts of a bitmap cost nothing. */
static void *table_new(uint64_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void *table_free(void *p, uint64_t len)
{
	if (p)
		(void)munmap(p, len);
	return NULL;
}

static uint64_t bits_len(const struct ram_file *b)
{
	return bitmap_words(b->n_pages) * sizeof(uint64_t);
}

uint64_t *ram_bits_new(uint64_t n_pages)
{
	return table_new(bitmap_words(n_pages) * sizeof(uint64_t));
}

uint64_t *ram_bits_free(uint64_t *bits, uint64_t n_pages)
{
	return table_free(bits, bitmap_words(n_pages) * sizeof(uint64_t));
}

int ram_source_init(struct ram *ram)
{
	for (size_t i = 0; i < ram->n_blocks; i++) {
		struct ram_file *b = &ram->blocks[i];

		b->todo = table_new(bits_len(b));
		b->units = table_new(ram_n_units(b));
		if (!b->todo || !b->units)
			return -ENOMEM;
	}
	return 0;
}

int ram_target_init(struct ram *ram)
{
	for (size_t i = 0; i < ram->n_blocks; i++) {
		struct ram_file *b = &ram->blocks[i];

		b->filled = table_new(bits_len(b));
		if (!b->filled)
			return -ENOMEM;
	}
	return 0;
}

void ram_done(struct ram *ram)
{
	for (size_t i = 0; i < ram->n_blocks; i++) {
		struct ram_file *b = &ram->blocks[i];

		b->todo = table_free(b->todo, bits_len(b));
		b->units = table_free(b->units, ram_n_units(b));
		b->unacked = table_free(b->unacked, bits_len(b));
		dirty_map_done(&b->hints);
		dirty_map_done(&b->received);
		b->poison = table_free(b->poison, bits_len(b));
		b->filled = table_free(b->filled, bits_len(b));
		dirty_map_done(&b->dirty);
		b->fd = close_fd(b->fd);
	}
	*ram = (struct ram){ 0 };
}

void ram_ignore_shared(struct ram *ram)
{
	ram->ignore_shared = true;
	for (size_t i = 0; i < ram->n_blocks; i++) {
		struct ram_file *b = &ram->blocks[i];

		b->ignored = b->flags & ATTACH_RAM_SHARED;
		if (b->ignored)
			ram->ignored_bytes += b->len;
	}
}

struct ram_file *ram_find(struct ram *ram, const char *name)
{
	for (size_t i = 0; i < ram->n_blocks; i++)
		if (strcmp(ram->blocks[i].name, name) == 0)
			return &ram->blocks[i];
	return NULL;
}

uint64_t ram_take_dirty(struct ram *ram)
{
	uint64_t fresh = 0;

	for (size_t i = 0; i < ram->n_blocks; i++) {
		struct ram_file *b = &ram->blocks[i];

		if (!b->ignored)
			fresh += bitmap_atomic_take(b->todo, b->dirty.bits, b->n_pages);
	}
	return fresh;
}

uint64_t ram_todo_pages(const struct ram *ram)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ram->n_blocks; i++)
		n += bitmap_count_range(ram->blocks[i].todo, 0, ram->blocks[i].n_pages);
	return n;
}

bool ram_is_data(const struct ram_file *b, uint64_t page, uint64_t *ret_end)
{
	off_t at = (off_t)(b->fd_offset + page * WIRE_PAGE_SIZE);
	off_t next;
	bool data;

	*ret_end = b->n_pages;
	if (ram_is_huge(b))
		return true;
	next = lseek(b->fd, at, SEEK_DATA);
	if (next < 0)
		return errno != ENXIO; /* ENXIO: a hole up to the end of the file */
	data = next == at;
	if (data)
		next = lseek(b->fd, at, SEEK_HOLE);
	if (next >= 0)
		*ret_end = min_u64(b->n_pages, round_up((uint64_t)next - b->fd_offset,
							WIRE_PAGE_SIZE) / WIRE_PAGE_SIZE);
	return data;
}

int ram_read(const struct ram_file *b, uint64_t page, uint64_t n, uint8_t *data)
{
	return fd_pread_full(b->fd, data, n * WIRE_PAGE_SIZE, b->fd_offset + page * WIRE_PAGE_SIZE);
}

bool ram_is_damage(int r)
{
	return r == -EIO || r == -EHWPOISON;
}
