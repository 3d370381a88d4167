/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker does with hints: skips what is on its list, once, and never what a sync reported after the hint. */
/* LIBS: migd_engine */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"
#include "base/fd.h"
#include "engine/ram-hints.h"

#define N_PAGES 1000ULL

static void begin(struct ram *ram)
{
	struct attach_ram_block row = { .name = "ram", .len = N_PAGES * 4096, .page_size = 4096 };
	struct ram_file *b = &ram->blocks[0];
	int fd;

	*ram = (struct ram){ 0 };
	assert_int_equal(ram_add(ram, &row, fd_memfd("test", N_PAGES * 4096), NULL), 0);
	assert_int_equal(ram_source_init(ram), 0);
	assert_int_equal(dirty_map_create(N_PAGES, &b->dirty, &fd), 0);
	close(fd);
	assert_int_equal(dirty_map_create(N_PAGES, &b->hints, &fd), 0);
	close(fd);
}

static void a_hint_saves_a_page(void **state)
{
	struct ram ram;
	struct ram_file *b = &ram.blocks[0];

	(void)state;
	begin(&ram);
	bitmap_set_range(b->todo, 0, N_PAGES);
	bitmap_atomic_or_range(b->hints.bits, 100, 50);
	assert_int_equal(ram_hints_skip(b, 0, 128), 28);
	assert_int_equal(ram_hints_skip(b, 128, N_PAGES), 22);
	assert_int_equal(ram_todo_pages(&ram), N_PAGES - 50);
	assert_int_equal(bitmap_next_clear(b->todo, N_PAGES, 0), 100);
	/* Taken: the next time it needs a new one. */
	bitmap_set_range(b->todo, 0, N_PAGES);
	assert_int_equal(ram_hints_skip(b, 0, N_PAGES), 0);
	ram_done(&ram);
}

static void a_write_after_the_hint_counts(void **state)
{
	struct ram ram;
	struct ram_file *b = &ram.blocks[0];

	(void)state;
	begin(&ram);
	bitmap_atomic_or_range(b->hints.bits, 10, 3);
	/* Reported by the sync, whenever it was written: the hint is void. */
	bitmap_atomic_or_range(b->dirty.bits, 11, 1);
	assert_int_equal(ram_take_dirty(&ram), 1);
	ram_hints_drop_dirty(&ram);
	assert_int_equal(ram_hints_skip(b, 0, N_PAGES), 0);
	assert_int_equal(ram_todo_pages(&ram), 1);
	assert_true(bitmap_test(b->todo, 11));
	ram_done(&ram);
}

static void a_library_without_hints(void **state)
{
	struct ram ram;
	struct ram_file *b = &ram.blocks[0];

	(void)state;
	begin(&ram);
	dirty_map_done(&b->hints);
	bitmap_set_range(b->todo, 0, N_PAGES);
	ram_hints_drop_dirty(&ram);
	assert_int_equal(ram_hints_skip(b, 0, N_PAGES), 0);
	assert_int_equal(ram_todo_pages(&ram), N_PAGES);
	ram_done(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hint_saves_a_page),
		cmocka_unit_test(a_write_after_the_hint_counts),
		cmocka_unit_test(a_library_without_hints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
