/* SPDX-License-Identifier: Apache-2.0 */
/* Every malformed RAM record ends the migration with an error that names section and field; nothing is written outside. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "engine/kernels/kernels.h"
#include "engine/ram-target.h"

#define BLOCK_BYTES (1 * MIB)

struct fixture {
	struct ram ram;
	struct buf stream;
	struct merr err;
};

static int setup(void **state)
{
	static struct fixture f;
	struct attach_ram_block row = { .name = "ram", .len = BLOCK_BYTES, .page_size = 4096 };

	memset(&f, 0, sizeof(f));
	assert_int_equal(ram_add(&f.ram, &row, fd_memfd("test", BLOCK_BYTES), NULL), 0);
	assert_int_equal(ram_target_init(&f.ram), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ram_done(&f->ram);
	buf_done(&f->stream);
	return 0;
}

static void add_name(struct fixture *f, const char *name)
{
	buf_u8(&f->stream, (uint8_t)strlen(name));
	buf_add_str(&f->stream, name);
}

static void add_list(struct fixture *f, uint64_t total, const char *name, uint64_t len)
{
	buf_be64(&f->stream, total | WIRE_RAM_MEM_SIZE);
	add_name(f, name);
	buf_be64(&f->stream, len);
}

/* The block list as it should be, then a record. */
static void add_record(struct fixture *f, uint64_t w, const char *name)
{
	if (f->stream.len == 0)
		add_list(f, BLOCK_BYTES, "ram", BLOCK_BYTES);
	buf_be64(&f->stream, w);
	if (name)
		add_name(f, name);
}

static int receive(struct fixture *f, bool runs)
{
	struct ram_target t = { .ram = &f->ram, .runs = runs };
	struct chan *chan;
	int fds[2], r;

	assert_int_equal(f->stream.error, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(fd_write_full(fds[1], f->stream.data, f->stream.len), 0);
	close(fds[1]);
	chan = chan_new(fds[0], -1);
	t.in = in_new(chan, NULL, &f->err);
	r = ram_target_receive(&t, true);
	in_free(t.in);
	chan_free(chan);
	return r;
}

static void expect_refusal(struct fixture *f, bool runs, const char *text)
{
	assert_true(receive(f, runs) < 0);
	if (!strstr(f->err.msg, text))
		fail_msg("'%s' does not say '%s'", f->err.msg, text);
	assert_non_null(strstr(f->err.msg, "stream offset"));
}

#define REFUSES(name, runs, text, ...)                 \
	static void name(void **state)                 \
	{                                              \
		struct fixture *f = *state;            \
		__VA_ARGS__;                           \
		expect_refusal(f, runs, text);         \
	}

REFUSES(unknown_block, false, "unknown block 'rom'",
	add_record(f, 0 | WIRE_RAM_PAGE, "rom"))
REFUSES(continue_without_a_block, false, "CONTINUE without",
	add_record(f, 0 | WIRE_RAM_PAGE | WIRE_RAM_CONTINUE, NULL))
REFUSES(page_at_the_end, false, "outside block 'ram'",
	add_record(f, BLOCK_BYTES | WIRE_RAM_PAGE, "ram"))
REFUSES(page_far_away, false, "outside block 'ram'",
	add_record(f, 0xfffffffffffff000ULL | WIRE_RAM_PAGE, "ram"))
REFUSES(unknown_flag, false, "field 'flags'", add_record(f, 0x800 | WIRE_RAM_PAGE, "ram"))
REFUSES(two_kinds, false, "field 'flags'",
	add_record(f, WIRE_RAM_ZERO | WIRE_RAM_PAGE, "ram"))
REFUSES(run_that_was_not_agreed_on, false, "field 'flags'",
	add_record(f, WIRE_RAM_PAGE | WIRE_RAM_RUN, "ram"))
REFUSES(empty_run, true, "field 'run length'",
	add_record(f, WIRE_RAM_PAGE | WIRE_RAM_RUN, "ram"); buf_be32(&f->stream, 0))
REFUSES(endless_run, true, "field 'run length'",
	add_record(f, WIRE_RAM_ZERO | WIRE_RAM_RUN, "ram"); buf_be32(&f->stream, UINT32_MAX))
REFUSES(run_over_the_end, true, "outside block 'ram'",
	add_record(f, (BLOCK_BYTES - 4096) | WIRE_RAM_ZERO | WIRE_RAM_RUN, "ram");
	buf_be32(&f->stream, 2))
REFUSES(fill_byte, false, "field 'fill'", add_record(f, WIRE_RAM_ZERO, "ram");
	buf_u8(&f->stream, 1))
REFUSES(second_list, false, "a second block list",
	add_record(f, BLOCK_BYTES | WIRE_RAM_MEM_SIZE, NULL))
REFUSES(page_before_the_list, false, "before the block list",
	buf_be64(&f->stream, WIRE_RAM_ZERO))
REFUSES(no_list, false, "no block list", buf_be64(&f->stream, WIRE_RAM_EOS))
REFUSES(other_length, false, "2097152 bytes at the source and 1048576 here",
	add_list(f, 2 * BLOCK_BYTES, "ram", 2 * BLOCK_BYTES))
REFUSES(other_block, false, "does not have", add_list(f, BLOCK_BYTES, "rom", BLOCK_BYTES))
REFUSES(listed_twice, false, "listed twice",
	add_list(f, 2 * BLOCK_BYTES, "ram", BLOCK_BYTES);
	add_name(f, "ram"); buf_be64(&f->stream, BLOCK_BYTES))
REFUSES(list_shorter_than_announced, false, "mid-stream",
	add_list(f, 2 * BLOCK_BYTES, "ram", BLOCK_BYTES))
REFUSES(missing_block, false, "no RAM block 'ram'", buf_be64(&f->stream, WIRE_RAM_MEM_SIZE))
REFUSES(empty_name, false, "is empty", add_record(f, WIRE_RAM_PAGE, ""))
REFUSES(unprintable_name, false, "unprintable", add_record(f, WIRE_RAM_PAGE, "r\x01m"))
REFUSES(cut_in_a_page, false, "mid-stream", add_record(f, WIRE_RAM_PAGE, "ram");
	buf_be64(&f->stream, 1))

/* The rest of an XBZRLE record. */
static void add_code(struct fixture *f, uint8_t codec, uint16_t len, const char *code, size_t n)
{
	buf_u8(&f->stream, codec);
	buf_be16(&f->stream, len);
	buf_add(&f->stream, code, n);
}

REFUSES(poison_that_was_not_agreed_on, true, "field 'flags'",
	add_record(f, WIRE_RAM_POISON | WIRE_RAM_RUN, "ram"); buf_be32(&f->stream, 1))
REFUSES(xbzrle_of_a_run, true, "field 'flags'",
	add_record(f, WIRE_RAM_XBZRLE | WIRE_RAM_RUN, "ram"))
REFUSES(xbzrle_codec, false, "field 'xbzrle codec' is 2",
	add_record(f, WIRE_RAM_XBZRLE, "ram"); add_code(f, 2, 3, "\0\1\xaa", 3))
REFUSES(xbzrle_empty, false, "field 'xbzrle length': 0",
	add_record(f, WIRE_RAM_XBZRLE, "ram"); add_code(f, 1, 0, "", 0))
REFUSES(xbzrle_longer_than_a_page, false, "field 'xbzrle length': 4097",
	add_record(f, WIRE_RAM_XBZRLE, "ram"); add_code(f, 1, 4097, "", 0))
REFUSES(xbzrle_outside, false, "outside block 'ram'",
	add_record(f, BLOCK_BYTES | WIRE_RAM_XBZRLE, "ram"); add_code(f, 1, 3, "\0\1\xaa", 3))
REFUSES(xbzrle_bad_code, false, "field 'xbzrle data' of the page at 0x3000 leaves the page",
	add_record(f, 0x3000 | WIRE_RAM_XBZRLE, "ram"); add_code(f, 1, 4, "\xff\x7f\x01\xaa", 4))
REFUSES(xbzrle_cut, false, "mid-stream",
	add_record(f, WIRE_RAM_XBZRLE, "ram"); add_code(f, 1, 4, "\0\1", 2))

static void takes_what_is_right(void **state)
{
	struct fixture *f = *state;
	uint8_t page[4096], got[4096];

	memset(page, 0x5a, sizeof(page));
	add_record(f, 0x3000 | WIRE_RAM_PAGE, "ram");
	buf_add(&f->stream, page, sizeof(page));
	add_record(f, 0x4000 | WIRE_RAM_PAGE | WIRE_RAM_CONTINUE | WIRE_RAM_RUN, NULL);
	buf_be32(&f->stream, 2);
	buf_add(&f->stream, page, sizeof(page));
	buf_add(&f->stream, page, sizeof(page));
	/* Of a page that is there, and of one that was never touched. */
	add_record(f, 0x5000 | WIRE_RAM_XBZRLE | WIRE_RAM_CONTINUE, NULL);
	add_code(f, 1, 3, "\0\1\xaa", 3);
	add_record(f, 0x7000 | WIRE_RAM_XBZRLE | WIRE_RAM_CONTINUE, NULL);
	add_code(f, 1, 4, "\xff\x1f\1\xaa", 4);
	/* A page that turned zero again. */
	add_record(f, 0x4000 | WIRE_RAM_ZERO | WIRE_RAM_CONTINUE, NULL);
	buf_u8(&f->stream, 0);
	buf_be64(&f->stream, WIRE_RAM_EOS);
	assert_int_equal(receive(f, true), 0);
	assert_int_equal(fd_pread_full(f->ram.blocks[0].fd, got, 4096, 0x3000), 0);
	assert_memory_equal(got, page, 4096);
	assert_int_equal(fd_pread_full(f->ram.blocks[0].fd, got, 4096, 0x5000), 0);
	assert_int_equal(got[0], 0xaa);
	assert_memory_equal(got + 1, page + 1, 4095);
	assert_int_equal(fd_pread_full(f->ram.blocks[0].fd, got, 4096, 0x7000), 0);
	assert_int_equal(got[4095], 0xaa);
	assert_true(kernels_best()->is_zero(got, 4095));
	assert_int_equal(fd_pread_full(f->ram.blocks[0].fd, got, 4096, 0x4000), 0);
	assert_true(kernels_best()->is_zero(got, 4096));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(unknown_block), T(continue_without_a_block), T(page_at_the_end), T(page_far_away),
		T(unknown_flag), T(two_kinds), T(run_that_was_not_agreed_on), T(empty_run),
		T(endless_run), T(run_over_the_end), T(fill_byte), T(second_list),
		T(page_before_the_list), T(no_list), T(other_length), T(other_block),
		T(listed_twice), T(list_shorter_than_announced), T(missing_block), T(empty_name),
		T(unprintable_name), T(cut_in_a_page), T(poison_that_was_not_agreed_on), T(xbzrle_of_a_run), T(xbzrle_codec), T(xbzrle_empty),
		T(xbzrle_longer_than_a_page), T(xbzrle_outside), T(xbzrle_bad_code), T(xbzrle_cut),
		T(takes_what_is_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
