/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of multifd's channels come apart as they were put together; every malformed one is refused, and its field named. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "engine/multifd-packet.h"

#define BLOCK_BYTES (1 * MIB)
#define PAGE WIRE_PAGE_SIZE

/* Where fields are: WIRE.md 5.2. */
enum { MAGIC = 0, VERSION = 4, FLAGS = 8, ALLOC = 12, NORMAL = 16, SIZE = 20, ZERO = 32, NAME = 64, OFFSETS = 320 };

static struct ram ram;

static void add_block(const char *name)
{
	struct attach_ram_block row = { .len = BLOCK_BYTES, .page_size = PAGE };

	memcpy(row.name, name, strlen(name) + 1);
	assert_int_equal(ram_add(&ram, &row, fd_memfd("test", BLOCK_BYTES), NULL), 0);
}

static int set_up(void **state)
{
	(void)state;
	ram = (struct ram){ 0 };
	add_block("ram");
	add_block("shared");
	add_block("handed");
	ram.blocks[1].ignored = true;
	ram.blocks[2].handed = true;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ram_done(&ram);
	return 0;
}

static struct multifd_packet sample(void)
{
	return (struct multifd_packet){ .n_normal = 3,
					.n_zero = 2,
					.payload_bytes = 3 * PAGE,
					.number = 77,
					.block = &ram.blocks[0],
					.offsets = { 0, PAGE, BLOCK_BYTES - PAGE, 5 * PAGE, 6 * PAGE } };
}

static void packet_survives(void **state)
{
	struct multifd_packet p = sample(), q;
	uint8_t bytes[MULTIFD_HEADER_LEN];
	struct merr err = MERR_INIT;

	(void)state;
	multifd_packet_put(&p, bytes);
	assert_int_equal(multifd_packet_parse(bytes, &ram, MULTI_FD_COMPRESSION_NONE, &q, &err), 0);
	assert_int_equal(q.n_normal, 3);
	assert_int_equal(q.n_zero, 2);
	assert_int_equal(q.payload_bytes, 3 * PAGE);
	assert_int_equal(q.number, 77);
	assert_ptr_equal(q.block, &ram.blocks[0]);
	assert_memory_equal(q.offsets, p.offsets, 5 * sizeof(p.offsets[0]));
	assert_int_equal(load_be32(bytes + ALLOC), MULTIFD_PACKET_PAGES);
	assert_string_equal((char *)bytes + NAME, "ram");
	assert_int_equal(multifd_packet_run(p.offsets, 3), 2);
	assert_int_equal(multifd_packet_run(p.offsets + 2, 1), 1);
}

static void full_packet_survives(void **state)
{
	struct multifd_packet p = sample(), q;
	uint8_t bytes[MULTIFD_HEADER_LEN];

	(void)state;
	p.n_normal = MULTIFD_PACKET_PAGES;
	p.n_zero = 0;
	p.payload_bytes = MULTIFD_PACKET_PAGES * PAGE;
	for (uint64_t i = 0; i < MULTIFD_PACKET_PAGES; i++)
		p.offsets[i] = i * PAGE;
	multifd_packet_put(&p, bytes);
	assert_int_equal(multifd_packet_parse(bytes, &ram, MULTI_FD_COMPRESSION_NONE, &q, NULL), 0);
	assert_int_equal(multifd_packet_run(q.offsets, q.n_normal), MULTIFD_PACKET_PAGES);
}

static void sync_survives(void **state)
{
	struct multifd_packet p = { .flags = MULTIFD_FLAG_SYNC }, q = sample();
	uint8_t bytes[MULTIFD_HEADER_LEN];

	(void)state;
	multifd_packet_put(&p, bytes);
	/* Stale, as an older source leaves them: not looked at without pages. */
	store_be32(bytes + SIZE, 4096);
	memcpy(bytes + NAME, "gone", 4);
	store_be64(bytes + OFFSETS, UINT64_MAX);
	assert_int_equal(multifd_packet_parse(bytes, &ram, MULTI_FD_COMPRESSION_ZSTD, &q, NULL), 0);
	assert_int_equal(q.flags, MULTIFD_FLAG_SYNC);
	assert_int_equal(q.payload_bytes, 0);
	assert_null(q.block);
}

static void sync_with_pages_survives(void **state)
{
	struct multifd_packet p = sample(), q;
	uint8_t bytes[MULTIFD_HEADER_LEN];

	(void)state;
	p.flags = MULTIFD_FLAG_SYNC | multifd_codec_flag(MULTI_FD_COMPRESSION_ZLIB);
	p.payload_bytes = 100;
	multifd_packet_put(&p, bytes);
	assert_int_equal(multifd_packet_parse(bytes, &ram, MULTI_FD_COMPRESSION_ZLIB, &q, NULL), 0);
	assert_int_equal(q.payload_bytes, 100);
}

static void assert_refused(const uint8_t *bytes, enum multi_fd_compression codec, const char *word)
{
	struct merr err = MERR_INIT;
	struct multifd_packet q;

	assert_int_equal(multifd_packet_parse(bytes, &ram, codec, &q, &err), -EBADMSG);
	if (!strstr(merr_msg(&err), word))
		fail_msg("'%s' does not mention '%s'", merr_msg(&err), word);
}

static const struct {
	size_t at;
	uint32_t value;
	const char *word;
} bad_be32[] = {
	{ MAGIC, 0x11223345, "'magic'" },
	{ VERSION, 2, "'version'" },
	{ VERSION, 0, "'version'" },
	{ FLAGS, 0x040, "'flags'" },		/* device state */
	{ FLAGS, 0x80000000, "'flags'" },
	{ FLAGS, 0x002, "compression" },	/* zlib, and none is agreed on */
	{ ALLOC, MULTIFD_PACKET_PAGES + 1, "'pages_alloc'" },
	{ ALLOC, UINT32_MAX, "'pages_alloc'" },
	{ ALLOC, 2, "'normal_pages'" },
	{ ALLOC, 4, "'zero_pages'" },
	{ NORMAL, MULTIFD_PACKET_PAGES + 1, "'normal_pages'" },
	{ NORMAL, UINT32_MAX, "'normal_pages'" },
	{ ZERO, MULTIFD_PACKET_PAGES - 2, "'zero_pages'" },
	{ ZERO, UINT32_MAX, "'zero_pages'" },	/* 3 more wrap to 2 */
	{ SIZE, 3 * PAGE - 1, "'next_packet_size'" },
	{ SIZE, 0, "'next_packet_size'" },
	{ SIZE, UINT32_MAX, "'next_packet_size'" },
	{ NAME, 0x72616d32, "unknown block 'ram2'" },
	{ NAME, 0x720a1b00, "unknown block 'r\?\?'" },
	{ NAME, 0, "unknown block ''" },
};

static void bad_numbers_are_refused(void **state)
{
	uint8_t bytes[MULTIFD_HEADER_LEN];
	struct multifd_packet p = sample();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_be32); i++) {
		multifd_packet_put(&p, bytes);
		store_be32(bytes + bad_be32[i].at, bad_be32[i].value);
		assert_refused(bytes, MULTI_FD_COMPRESSION_NONE, bad_be32[i].word);
	}
}

static void bad_offsets_are_refused(void **state)
{
	static const uint64_t bad[] = { 1, PAGE - 1, BLOCK_BYTES, BLOCK_BYTES - 1, UINT64_MAX, UINT64_MAX - PAGE + 1,
					1ULL << 63 };
	uint8_t bytes[MULTIFD_HEADER_LEN];
	struct multifd_packet p = sample();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (size_t k = 0; k < 5; k++) {
			multifd_packet_put(&p, bytes);
			store_be64(bytes + OFFSETS + 8 * k, bad[i]);
			assert_refused(bytes, MULTI_FD_COMPRESSION_NONE, "'offset[");
		}
}

static void bad_blocks_are_refused(void **state)
{
	uint8_t bytes[MULTIFD_HEADER_LEN];
	struct multifd_packet p = sample();

	(void)state;
	multifd_packet_put(&p, bytes);
	memset(bytes + NAME, 'x', 256); /* no NUL anywhere */
	assert_refused(bytes, MULTI_FD_COMPRESSION_NONE, "'ramblock'");
	p.block = &ram.blocks[1];
	multifd_packet_put(&p, bytes);
	assert_refused(bytes, MULTI_FD_COMPRESSION_NONE, "x-ignore-shared");
	p.block = &ram.blocks[2];
	multifd_packet_put(&p, bytes);
	assert_refused(bytes, MULTI_FD_COMPRESSION_NONE, "handed over");
}

static void other_compressions_are_refused(void **state)
{
	uint8_t bytes[MULTIFD_HEADER_LEN];
	struct multifd_packet p = sample();

	(void)state;
	multifd_packet_put(&p, bytes);
	assert_refused(bytes, MULTI_FD_COMPRESSION_ZLIB, "multifd-compression");
	p.flags = multifd_codec_flag(MULTI_FD_COMPRESSION_ZLIB);
	p.payload_bytes = MULTIFD_CODEC_PAYLOAD_MAX + 1;
	multifd_packet_put(&p, bytes);
	assert_refused(bytes, MULTI_FD_COMPRESSION_ZSTD, "multifd-compression");
	assert_refused(bytes, MULTI_FD_COMPRESSION_ZLIB, "'next_packet_size'");
}

static void hello_survives(void **state)
{
	struct multifd_hello h = { .uuid = { 1, 2, 3 }, .id = 254, .handover_id = { 9, 8, 7 }, .n_channels = 255 }, g;
	uint8_t bytes[MULTIFD_HELLO_LEN], zeros[MULTIFD_HELLO_LEN] = { 0 };
	struct merr err = MERR_INIT;

	(void)state;
	multifd_hello_put(&h, bytes);
	assert_int_equal(load_be32(bytes), 0x11223344);
	assert_int_equal(load_be32(bytes + 4), 1);
	assert_memory_equal(bytes + 8, h.uuid, 16);
	assert_int_equal(bytes[24], 254);
	assert_memory_equal(bytes + 25, zeros, 7);
	assert_memory_equal(bytes + 49, zeros, 15);
	assert_int_equal(multifd_hello_parse(bytes, &g, &err), 0);
	assert_memory_equal(&g, &h, sizeof(h));
	store_be32(bytes + 4, 2);
	assert_int_equal(multifd_hello_parse(bytes, &g, &err), -EBADMSG);
	assert_non_null(strstr(merr_msg(&err), "'version' is 2"));
	assert_int_equal(multifd_hello_parse(zeros, &g, NULL), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packet_survives),	  cmocka_unit_test(full_packet_survives),
		cmocka_unit_test(sync_survives),	  cmocka_unit_test(sync_with_pages_survives),
		cmocka_unit_test(bad_numbers_are_refused), cmocka_unit_test(bad_offsets_are_refused),
		cmocka_unit_test(bad_blocks_are_refused), cmocka_unit_test(other_compressions_are_refused),
		cmocka_unit_test(hello_survives),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
