/* SPDX-License-Identifier: Apache-2.0 */
/* RAM saved to its places in a file is what comes from it: two blocks, several passes, pages that become zero again. */
/* LIBS: migd_engine */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "engine/mapped-layout.h"
#include "engine/mapped-reader.h"
#include "engine/mapped-writer.h"
#include "engine/ram-source.h"
#include "engine/ram-target.h"

/* No multiple of a word's, nor of a unit's. */
#define N_PAGES 5001ULL
#define STREAM_AT 12345U /* in the file */
#define N_THREADS 3

struct saved {
	int fd;
	struct stats_page *stats;
	struct ram from;
	uint8_t seen[2][N_PAGES]; /* what each page was filled with last; 0: zeros */
};

static void add_blocks(struct ram *ram, const char *first, const char *second)
{
	struct attach_ram_block row = { .len = N_PAGES * WIRE_PAGE_SIZE, .page_size = 4096 };

	for (int i = 0; i < 2; i++) {
		strcpy(row.name, i == 0 ? first : second);
		assert_int_equal(ram_add(ram, &row, fd_memfd("test", row.len), NULL), 0);
	}
}

static void write_page(struct saved *s, unsigned int block, uint64_t page, uint8_t with)
{
	uint8_t bytes[WIRE_PAGE_SIZE];

	memset(bytes, with, sizeof(bytes));
	assert_int_equal(fd_pwrite_full(s->from.blocks[block].fd, bytes, sizeof(bytes), page * sizeof(bytes)), 0);
	bitmap_set(s->from.blocks[block].todo, page);
	s->seen[block][page] = with;
}

/* Long runs, short ones, zeros, holes. */
static void write_some(struct saved *s, unsigned int seed, unsigned int pass)
{
	for (unsigned int block = 0; block < 2; block++)
		for (uint64_t page = 0; page < N_PAGES; page++) {
			unsigned int kind = (unsigned int)rand_r(&seed) % 16;

			if (page / 512 % 4 == 1 || (page / 512 % 4 >= 2 && kind > 8) || (pass > 0 && kind > 3))
				continue;
			write_page(s, block, page, kind % 4 == 0 ? 0 : (uint8_t)(kind + 16 * pass));
		}
}

static void save(struct saved *s, unsigned int n_passes)
{
	struct rate rate = { 0 };
	struct guest_link none = { .cancel_fd = -1 };
	struct chan *chan = chan_new(dup(s->fd), -1);
	struct out *out = out_new(chan, &rate, s->stats, -1);
	struct ram_source *src = ram_source_new(&s->from, out, &none, s->stats, false);
	const struct mapped_target_file file = {
		.fd = s->fd, .direct_fd = -1, .n_threads = N_THREADS, .cancel_fd = -1
	};
	struct merr err = MERR_INIT;
	struct ram_sink *k;

	assert_int_equal(mapped_writer_new(&s->from, &file, &rate, s->stats, &k, &err), 0);
	ram_source_use_sink(src, k);
	/* A stream's head, which the channel keeps to itself until the end. */
	out_be64(out, 0x1122334455667788);
	assert_int_equal(ram_source_list(src, &err), 0);
	for (unsigned int pass = 0; pass < n_passes; pass++) {
		if (pass > 0)
			write_some(s, 100 + pass, pass);
		if (ram_source_pass(src, true, &err) < 0)
			fail_msg("%s", merr_msg(&err));
	}
	assert_int_equal(out_flush(out), 0);
	assert_int_equal(chan_commit(chan), 0);
	ram_source_free(src);
	out_free(out);
	chan_free(chan);
}

static void load(struct saved *s, struct ram *to, unsigned int n_passes)
{
	struct merr err = MERR_INIT;
	struct chan *chan = chan_new(dup(s->fd), -1);
	const struct mapped_source_file file = {
		.fd = s->fd, .direct_fd = -1, .n_threads = N_THREADS, .cancel_fd = -1
	};
	struct ram_target t = { .ram = to, .in = in_new(chan, NULL, &err) };

	assert_int_equal(mapped_reader_new(&file, NULL, &t.mapped, &err), 0);
	assert_true(in_be64(t.in) == 0x1122334455667788);
	for (unsigned int section = 0; section <= n_passes; section++)
		if (ram_target_receive(&t, section == 0) < 0)
			fail_msg("%s", merr_msg(&err));
	mapped_reader_free(t.mapped);
	in_free(t.in);
	chan_free(chan);
}

static void check_block(const struct saved *s, unsigned int block, const struct ram_file *b)
{
	uint8_t bytes[WIRE_PAGE_SIZE], want[WIRE_PAGE_SIZE];

	for (uint64_t page = 0; page < N_PAGES; page++) {
		assert_int_equal(fd_pread_full(b->fd, bytes, sizeof(bytes), page * sizeof(bytes)), 0);
		memset(want, s->seen[block][page], sizeof(want));
		if (memcmp(bytes, want, sizeof(want)) != 0)
			fail_msg("block %u, page %llu: 0x%02x instead of 0x%02x", block, (unsigned long long)page,
				 bytes[0], s->seen[block][page]);
	}
}

static uint64_t count_normal(const struct saved *s)
{
	uint64_t n = 0;

	for (unsigned int block = 0; block < 2; block++)
		for (uint64_t page = 0; page < N_PAGES; page++)
			n += s->seen[block][page] != 0;
	return n;
}

static void save_and_load(unsigned int n_passes)
{
	struct saved *s = calloc(1, sizeof(*s));
	struct ram to = { 0 };
	struct stat st;

	s->fd = open(".", O_TMPFILE | O_RDWR, 0600);
	s->stats = calloc(1, sizeof(*s->stats));
	assert_true(s->fd >= 0);
	add_blocks(&s->from, "ram", "second");
	add_blocks(&to, "second", "ram");
	assert_int_equal(ram_source_init(&s->from), 0);
	assert_int_equal(ram_target_init(&to), 0);
	for (unsigned int i = 0; i < 2; i++)
		bitmap_set_range(s->from.blocks[i].todo, 0, N_PAGES);
	write_some(s, 1, 0);
	assert_int_equal(lseek(s->fd, STREAM_AT, SEEK_SET), STREAM_AT);
	save(s, n_passes);
	assert_int_equal(fstat(s->fd, &st), 0);
	/* One place a page, however often it was written: 64 KiB are for what is neither page nor hole. */
	if (n_passes == 1)
		assert_true((uint64_t)st.st_blocks * 512 <= count_normal(s) * WIRE_PAGE_SIZE + 64 * KIB);
	assert_true((uint64_t)st.st_size <= 2 * N_PAGES * WIRE_PAGE_SIZE + 4 * MIB);
	assert_int_equal(lseek(s->fd, STREAM_AT, SEEK_SET), STREAM_AT);
	load(s, &to, n_passes);
	check_block(s, 0, ram_find(&to, "ram"));
	check_block(s, 1, ram_find(&to, "second"));
	assert_int_equal(fstat(ram_find(&to, "ram")->fd, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 < N_PAGES * WIRE_PAGE_SIZE * 3 / 4);
	ram_done(&s->from);
	ram_done(&to);
	free(s->stats);
	close(s->fd);
	free(s);
}

static void one_pass(void **state)
{
	(void)state;
	save_and_load(1);
}

static void pages_change_between_passes(void **state)
{
	(void)state;
	save_and_load(4);
}

/* ---- the layout ---- */

static void layout_is_qemus(void **state)
{
	/* A bitmap whose end is at a boundary needs no gap. */
	static const struct {
		uint64_t at, n_pages, bitmap, bitmap_len, pages;
	} rows[] = { { 100, 1, 128, 8, 1 * MIB },
		     { 100, 65, 128, 16, 1 * MIB },
		     { 1 * MIB - 28 - 8, 64, 1 * MIB - 8, 8, 1 * MIB },
		     { 1 * MIB - 28 - 8, 65, 1 * MIB - 8, 16, 2 * MIB },
		     { 5 * GIB + 1, 1 << 28, 5 * GIB + 29, 32 * MIB, 5 * GIB + 33 * MIB } };
	uint8_t header[MAPPED_HEADER_LEN];
	struct mapped_layout l, back;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(mapped_layout(rows[i].at, rows[i].n_pages, &l), 0);
		assert_int_equal(l.bitmap_offset, rows[i].bitmap);
		assert_int_equal(l.bitmap_len, rows[i].bitmap_len);
		assert_int_equal(l.pages_offset, rows[i].pages);
		assert_int_equal(l.end, rows[i].pages + rows[i].n_pages * WIRE_PAGE_SIZE);
		mapped_header_put(&l, header);
		assert_int_equal(mapped_header_parse(header, rows[i].at, rows[i].n_pages, l.end, &back, NULL), 0);
		assert_memory_equal(&l, &back, sizeof(l));
		assert_int_equal(mapped_header_parse(header, rows[i].at, rows[i].n_pages, l.end - 1, &back, NULL), -EBADMSG);
	}
	assert_int_equal(mapped_layout(INT64_MAX - 1000, 1, &l), -EFBIG);
	assert_int_equal(mapped_layout(UINT64_MAX - 10, 1, &l), -EFBIG);
	assert_int_equal(mapped_layout(0, 1ULL << 51, &l), -EFBIG);
}

static void refuse(uint32_t version, uint64_t page_size, uint64_t bitmap, uint64_t pages, const char *field)
{
	uint8_t header[MAPPED_HEADER_LEN];
	struct wcur w = wcur_of(header, sizeof(header));
	struct merr err = MERR_INIT;
	struct mapped_layout l;

	wcur_be32(&w, version);
	wcur_be64(&w, page_size);
	wcur_be64(&w, bitmap);
	wcur_be64(&w, pages);
	assert_int_equal(mapped_header_parse(header, 1000, 64, 10 * MIB, &l, &err), -EBADMSG);
	assert_non_null(strstr(merr_msg(&err), field));
}

static void hostile_headers_are_refused(void **state)
{
	static const uint64_t far[] = { 10 * MIB, INT64_MAX, UINT64_MAX - 7, UINT64_MAX };

	(void)state;
	refuse(0, 4096, 1028, 1 * MIB, "'mapped-ram version'");
	refuse(2, 4096, 1028, 1 * MIB, "'mapped-ram version'");
	refuse(1, 0, 1028, 1 * MIB, "'mapped-ram page_size'");
	refuse(1, 4095, 1028, 1 * MIB, "'mapped-ram page_size'");
	refuse(1, UINT64_MAX, 1028, 1 * MIB, "'mapped-ram page_size'");
	refuse(1, 4096, 0, 1 * MIB, "'mapped-ram bitmap_offset'");
	refuse(1, 4096, 1027, 1 * MIB, "'mapped-ram bitmap_offset'");
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		refuse(1, 4096, far[i], 1 * MIB, "'mapped-ram bitmap_offset'");
		refuse(1, 4096, 1028, far[i] / 4096 * 4096, "'mapped-ram pages_offset'");
	}
	refuse(1, 4096, 1028, 0, "'mapped-ram pages_offset'");
	refuse(1, 4096, 1 * MIB, 1 * MIB, "'mapped-ram pages_offset'");
	refuse(1, 4096, 1028, 1 * MIB + 1, "'mapped-ram pages_offset'");
	refuse(1, 4096, 1028, 10 * MIB - 63 * 4096, "'mapped-ram pages_offset'");
}

static void bits_beyond_the_end_are_refused(void **state)
{
	uint64_t bits[2] = { UINT64_MAX, 1 };

	(void)state;
	assert_int_equal(mapped_bitmap_check(bits, 65, NULL), 0);
	assert_int_equal(mapped_bitmap_check(bits, 128, NULL), 0);
	bits[1] |= 2;
	assert_int_equal(mapped_bitmap_check(bits, 65, NULL), -EBADMSG);
	bits[1] = 1ULL << 63;
	assert_int_equal(mapped_bitmap_check(bits, 127, NULL), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_is_qemus),
		cmocka_unit_test(hostile_headers_are_refused),
		cmocka_unit_test(bits_beyond_the_end_are_refused),
		cmocka_unit_test(one_pass),
		cmocka_unit_test(pages_change_between_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
