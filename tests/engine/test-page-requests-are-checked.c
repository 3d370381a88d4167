/* SPDX-License-Identifier: Apache-2.0 */
/* What a target may ask for in post-copy: whole pages inside a block that it named, no more at once than there is room for. */
/* LIBS: migd_engine migd_base */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "engine/page-requests.h"
#include "engine/ram-units.h"

#define PAGE	  ((uint64_t)WIRE_PAGE_SIZE)
#define RAM_PAGES 1024U
#define BIG_PAGES (4 * 512U)
#define BIG_PAGE  (512 * PAGE)

static struct ram ram;
static struct page_requests queue;

static void add(const char *name, uint64_t pages, uint64_t page_size)
{
	struct attach_ram_block row = { .len = pages * PAGE, .page_size = page_size };
	int fd = memfd_create(name, MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)row.len), 0);
	memcpy(row.name, name, strlen(name) + 1);
	assert_int_equal(ram_add(&ram, &row, fd, NULL), 0);
}

static int set_up(void **state)
{
	(void)state;
	ram = (struct ram){ 0 };
	add("ram", RAM_PAGES, PAGE);
	add("big", BIG_PAGES, BIG_PAGE);
	add("shared", RAM_PAGES, PAGE);
	ram.blocks[2].ignored = true;
	assert_int_equal(ram_source_init(&ram), 0);
	bitmap_set_range(ram.blocks[0].todo, 0, RAM_PAGES);
	bitmap_set_range(ram.blocks[1].todo, 0, BIG_PAGES);
	queue = (struct page_requests){ .ram = &ram };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ram_done(&ram);
	return 0;
}

/* NAME NULL: the short form. */
static struct rp_msg request(const char *name, uint64_t start, uint64_t len)
{
	struct rp_msg m = { .type = name ? WIRE_RP_REQ_PAGES_ID : WIRE_RP_REQ_PAGES, .len = 12 };

	store_be64(m.body, start);
	store_be32(m.body + 8, (uint32_t)len);
	if (name) {
		m.body[12] = (uint8_t)strlen(name);
		memcpy(m.body + 13, name, strlen(name));
		m.len = (uint16_t)(13 + strlen(name));
	}
	return m;
}

static int take(const struct rp_msg *m)
{
	struct merr err = MERR_INIT;
	int r = page_requests_take(&queue, m, &err);

	/* Who fails says why. */
	assert_int_equal(r < 0, merr_is_set(&err));
	return r;
}

static int ask(const char *name, uint64_t start, uint64_t len)
{
	struct rp_msg m = request(name, start, len);

	return take(&m);
}

static void assert_next(unsigned int block, uint64_t page, uint64_t n)
{
	struct page_request q;

	assert_true(page_requests_next(&queue, &q));
	assert_ptr_equal(q.block, &ram.blocks[block]);
	assert_int_equal(q.page, page);
	assert_int_equal(q.n, n);
}

static void test_in_the_order_they_came(void **state)
{
	struct page_request q;

	(void)state;
	assert_int_equal(ask("ram", 7 * PAGE, PAGE), 0);
	assert_int_equal(ask(NULL, (RAM_PAGES - 2) * PAGE, 2 * PAGE), 0);
	assert_int_equal(ask("big", BIG_PAGE, BIG_PAGE), 0);
	assert_int_equal(ask(NULL, 0, BIG_PAGE), 0);
	assert_next(0, 7, 1);
	assert_next(0, RAM_PAGES - 2, 2);
	assert_next(1, 512, 512);
	assert_next(1, 0, 512);
	assert_false(page_requests_next(&queue, &q));
}

static void test_what_was_sent_is_under_way(void **state)
{
	struct page_request q;

	(void)state;
	bitmap_clear_range(ram.blocks[0].todo, 7, 1);
	assert_int_equal(ask("ram", 7 * PAGE, PAGE), 0);
	assert_false(page_requests_next(&queue, &q));
	assert_int_equal(ask("ram", 7 * PAGE, 2 * PAGE), 0);
	assert_next(0, 7, 2);
}

static void test_a_qemu_also_gets_what_was_never_touched(void **state)
{
	struct page_request q;

	(void)state;
	bitmap_clear_range(ram.blocks[0].todo, 0, RAM_PAGES);
	ram.blocks[0].units[1] = RAM_UNIT_MIXED;
	queue.holes = true;
	assert_int_equal(ask("ram", 513 * PAGE, PAGE), 0);
	assert_false(page_requests_next(&queue, &q));
	assert_int_equal(ask("ram", 3 * PAGE, PAGE), 0);
	assert_next(0, 3, 1);
	assert_int_equal(bitmap_count_range(ram.blocks[0].todo, 0, RAM_PAGES), 512);
	/* Once: it is not put back when it was sent. */
	bitmap_clear_range(ram.blocks[0].todo, 0, RAM_PAGES);
	assert_int_equal(ask("ram", 3 * PAGE, PAGE), 0);
	assert_false(page_requests_next(&queue, &q));
}

static void test_what_lies_outside_is_refused(void **state)
{
	static const struct {
		const char *name;
		uint64_t start, len;
	} bad[] = {
		{ "ram", RAM_PAGES * PAGE, PAGE },	   /* behind the end */
		{ "ram", (RAM_PAGES - 1) * PAGE, 2 * PAGE }, /* across it */
		{ "ram", UINT64_MAX - PAGE + 1, PAGE },	   /* the sum is 0 */
		{ "ram", UINT64_MAX - PAGE + 1, 2 * PAGE },
		{ "ram", 0, 0 },
		{ "ram", 1, PAGE },
		{ "ram", 0, PAGE + 1 },
		{ "ram", 0, 0xfffff000 },
		{ "big", PAGE, BIG_PAGE },
		{ "big", 0, PAGE },
		{ "shared", 0, PAGE },
		{ "ramx", 0, PAGE },
		{ "", 0, PAGE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ask(bad[i].name, bad[i].start, bad[i].len), -EBADMSG);
	assert_int_equal(queue.n, 0);
}

static void test_a_block_has_to_be_named_first(void **state)
{
	(void)state;
	assert_int_equal(ask(NULL, 0, PAGE), -EBADMSG);
	/* One that does not exist is none. */
	assert_int_equal(ask("ram", 0, PAGE), 0);
	assert_int_equal(ask("no", 0, PAGE), -EBADMSG);
	assert_int_equal(ask(NULL, 0, PAGE), -EBADMSG);
}

static void test_lengths_are_exact(void **state)
{
	struct rp_msg m = request("ram", 0, PAGE);
	uint16_t whole = m.len;

	(void)state;
	assert_int_equal(take(&m), 0);
	for (m.len = 0; m.len < whole; m.len++)
		assert_int_equal(take(&m), -EBADMSG);
	m.len = (uint16_t)(whole + 1);
	assert_int_equal(take(&m), -EBADMSG);
	m = request(NULL, 0, PAGE);
	m.len = 13;
	assert_int_equal(take(&m), -EBADMSG);
	m = request("ram", 0, PAGE);
	m.body[14] = '\0';
	assert_int_equal(take(&m), -EBADMSG);
}

/* Always three in it, from full to nearly empty and back. */
static void test_the_ring_goes_round(void **state)
{
	uint64_t asked = 0, got = 0;

	(void)state;
	for (unsigned int round = 0; round < 5; round++) {
		for (; !page_requests_full(&queue); asked++)
			assert_int_equal(ask("ram", asked % RAM_PAGES * PAGE, PAGE), 0);
		assert_int_equal(asked - got, PAGE_REQUESTS_MAX);
		for (; asked - got > 3; got++)
			assert_next(0, got % RAM_PAGES, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_the_order_they_came, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_was_sent_is_under_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_qemu_also_gets_what_was_never_touched, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_lies_outside_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_block_has_to_be_named_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lengths_are_exact, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_ring_goes_round, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
