/* SPDX-License-Identifier: Apache-2.0 */
/* A bzImage in guest memory as the 64-bit boot protocol wants it, and kernels that are refused. */
/* LIBS: migd_vmm_core migd_guest_static */
/* SOURCES: board.c */
/* LABELS: quick */
#include <asm/bootparam.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "board.h"
#include "vmm/boot.h"

#define MEMORY (64 << 20)
#define SETUP_LEN (5 * 512)
#define CODE_LEN 10000
#define INIT_SIZE (8 << 20)

struct loader_test {
	struct board b;
	uint8_t image[SETUP_LEN + CODE_LEN];
	struct setup_header *header;
	struct boot_entry entry;
};

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct loader_test *t = calloc(1, sizeof(*t));
	assert_non_null(t);
	board_prepare(&t->b, MEMORY);
	t->b.opt.boot = BOOT_LINUX;
	t->b.opt.n_cpus = 3;
	t->b.opt.boot_path = strdup(board_path(&t->b, "bzImage"));
	t->b.opt.cmdline = "console=ttyS0 quiet";
	board_start(&t->b);
	t->header = (struct setup_header *)(t->image + offsetof(struct boot_params, hdr));
	*t->header = (struct setup_header){
		.setup_sects = 4, .header = 0x53726448, .version = 0x20f, .xloadflags = XLF_KERNEL_64,
		.init_size = INIT_SIZE, .initrd_addr_max = 0x7fffffff, .cmdline_size = 2047,
	};
	t->image[0x201] = 0x6a;	/* the header ends at 0x26c */
	for (size_t i = 0; i < CODE_LEN; i++)
		t->image[SETUP_LEN + i] = (uint8_t)(i * 3);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct loader_test *t = *state;
	free((char *)t->b.opt.boot_path);
	free((char *)t->b.opt.initrd_path);
	board_done(&t->b);
	free(t);
	return 0;
}

static int load(struct loader_test *t)
{
	write_file(t->b.opt.boot_path, t->image, sizeof(t->image));
	return boot_load(&t->b.m, &t->entry);
}

static const void *mem(struct loader_test *t, uint64_t gpa)
{
	return ram_at(&t->b.m.ram, gpa, 1);
}

static void test_kernel_and_zero_page(void **state)
{
	struct loader_test *t = *state;
	assert_int_equal(load(t), 0);
	assert_true(t->entry.long_mode && !t->entry.all_vcpus);
	assert_true(t->entry.rip == 0x100200);
	assert_memory_equal(mem(t, 0x100000), t->image + SETUP_LEN, CODE_LEN);
	const struct boot_params *bp = mem(t, t->entry.rsi);
	assert_int_equal(bp->hdr.header, 0x53726448);
	assert_int_equal(bp->hdr.type_of_loader, 0xff);
	assert_int_equal(bp->hdr.ramdisk_size, 0);
	const char *cmdline = mem(t, bp->hdr.cmd_line_ptr);
	assert_string_equal(cmdline, "console=ttyS0 quiet virtio_mmio.device=4K@0xd0000000:5");
	assert_int_equal(bp->e820_entries, 3);
	assert_true(bp->e820_table[0].addr == 0 && bp->e820_table[0].size == 0x9fc00);
	assert_true(bp->e820_table[2].addr == 0x100000 && bp->e820_table[2].size == MEMORY - 0x100000);
	assert_int_equal(bp->e820_table[2].type, 1);
}

static void test_initrd_goes_high(void **state)
{
	struct loader_test *t = *state;
	static const char initrd[5000] = "070701";
	t->b.opt.initrd_path = strdup(board_path(&t->b, "initrd"));
	write_file(t->b.opt.initrd_path, initrd, sizeof(initrd));
	assert_int_equal(load(t), 0);
	const struct boot_params *bp = mem(t, t->entry.rsi);
	assert_int_equal(bp->hdr.ramdisk_size, sizeof(initrd));
	assert_int_equal(bp->hdr.ramdisk_image, MEMORY - 8192);
	assert_memory_equal(mem(t, bp->hdr.ramdisk_image), initrd, sizeof(initrd));
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;
	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static void test_mp_table_lists_the_vcpus(void **state)
{
	struct loader_test *t = *state;
	assert_int_equal(load(t), 0);
	const uint8_t *p = mem(t, MPTABLE_GPA);
	assert_memory_equal(p, "_MP_", 4);
	assert_int_equal(sum(p, 16), 0);
	assert_int_equal(*(const uint32_t *)(p + 4), MPTABLE_GPA + 16);
	const uint8_t *table = p + 16;
	assert_memory_equal(table, "PCMP", 4);
	assert_int_equal(sum(table, *(const uint16_t *)(table + 4)), 0);
	assert_int_equal(*(const uint16_t *)(table + 34), 3 + 1 + 1 + 16 + 2);
	for (uint8_t cpu = 0; cpu < 3; cpu++)
		assert_int_equal(table[44 + cpu * 20 + 1], cpu);
}

static void test_page_tables_are_an_identity(void **state)
{
	struct loader_test *t = *state;
	assert_int_equal(load(t), 0);
	for (uint64_t gpa = 0; gpa < 4ULL << 30; gpa += 123 << 20) {
		const uint64_t *pml4 = mem(t, 0x1000);
		const uint64_t *pdpt = mem(t, pml4[0] & ~0xfffULL);
		const uint64_t *pd = mem(t, pdpt[gpa >> 30] & ~0xfffULL);
		assert_true(pd[gpa >> 21 & 511] == ((gpa & ~0x1fffffULL) | 0x83));
	}
}

static void test_other_files_are_refused(void **state)
{
	struct loader_test *t = *state;
	t->header->header = 0;
	assert_int_equal(load(t), -EINVAL);
	t->header->header = 0x53726448;
	t->header->xloadflags = 0;
	assert_int_equal(load(t), -ENOTSUP);
	t->header->xloadflags = XLF_KERNEL_64;
	t->header->version = 0x203;
	assert_int_equal(load(t), -ENOTSUP);
	t->header->version = 0x20f;
	t->header->setup_sects = 200;
	assert_int_equal(load(t), -EINVAL);
	t->header->setup_sects = 4;
	t->header->init_size = MEMORY;
	assert_int_equal(load(t), -ENOMEM);
	t->header->init_size = INIT_SIZE;
	t->header->cmdline_size = 20;
	assert_int_equal(load(t), -E2BIG);
	write_file(t->b.opt.boot_path, "MZ", 2);
	assert_int_equal(boot_load(&t->b.m, &t->entry), -EINVAL);
	(void)remove(t->b.opt.boot_path);
	assert_int_equal(boot_load(&t->b.m, &t->entry), -ENOENT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_kernel_and_zero_page),	    T(test_initrd_goes_high),
		T(test_mp_table_lists_the_vcpus),   T(test_page_tables_are_an_identity),
		T(test_other_files_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
