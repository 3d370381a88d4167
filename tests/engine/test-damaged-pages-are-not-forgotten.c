/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged pages: whole huge pages, taken off what is to be sent, and a peer that cannot be told refuses them by name. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/fd.h"
#include "engine/ram-poison.h"

#define N_PAGES 1024ULL

static void add_block(struct ram *ram, uint64_t page_size)
{
	struct attach_ram_block row = { .name = "ram", .len = N_PAGES * 4096, .page_size = page_size };

	*ram = (struct ram){ 0 };
	assert_int_equal(ram_add(ram, &row, fd_memfd("test", N_PAGES * 4096), NULL), 0);
	assert_int_equal(ram_source_init(ram), 0);
	bitmap_set_range(ram->blocks[0].todo, 0, N_PAGES);
}

static void one_page(void **state)
{
	struct ram_poison p = { .can_send = true };
	struct ram ram;

	(void)state;
	add_block(&ram, 4096);
	assert_int_equal(ram_poison_found(&p, &ram.blocks[0], 70, NULL), 0);
	assert_true(ram.blocks[0].poison_unsent);
	ram_poison_skip(&ram);
	assert_false(bitmap_test(ram.blocks[0].todo, 70));
	assert_int_equal(ram_todo_pages(&ram), N_PAGES - 1);
	/* The same once more is no news. */
	ram.blocks[0].poison_unsent = false;
	assert_int_equal(ram_poison_found(&p, &ram.blocks[0], 70, NULL), 0);
	assert_false(ram.blocks[0].poison_unsent);
	ram_done(&ram);
}

static void a_huge_page_is_damaged_as_a_whole(void **state)
{
	struct ram_poison p = { .can_send = true };
	struct ram ram;

	(void)state;
	add_block(&ram, 512 * 4096);
	assert_int_equal(ram_poison_found(&p, &ram.blocks[0], 700, NULL), 0);
	ram_poison_skip(&ram);
	assert_int_equal(bitmap_next_clear(ram.blocks[0].todo, N_PAGES, 0), 512);
	assert_int_equal(ram_todo_pages(&ram), 512);
	ram_done(&ram);
}

static void a_peer_that_cannot_be_told(void **state)
{
	struct merr err = MERR_INIT;
	struct ram_poison p = { .can_send = false };
	struct ram ram;

	(void)state;
	add_block(&ram, 4096);
	assert_int_equal(ram_poison_found(&p, &ram.blocks[0], 70, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "page 0x46000 of RAM block 'ram' is damaged"));
	ram_done(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_page),
		cmocka_unit_test(a_huge_page_is_damaged_as_a_whole),
		cmocka_unit_test(a_peer_that_cannot_be_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
