/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's description fits its own kind, and each difference and each fault in it has its text. */
/* LIBS: migd_guest migd_base */
/* SOURCES: fake-arch.c */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "guest/state.h"
#include "tests/vmstate/fake-arch.h"

static bool never(void *opaque)
{
	(void)opaque;
	return false;
}

static const struct migd_vmstate_field no_fields[] = { MIGD_VMS_FIELD_END };
static const struct migd_vmstate v1 = { .name = "d", .version = 1, .minimum_version = 1, .fields = no_fields };
static const struct migd_vmstate v3 = { .name = "d", .version = 3, .minimum_version = 2, .fields = no_fields };
static const struct migd_vmstate v4 = { .name = "d", .version = 4, .minimum_version = 4, .fields = no_fields };
static const struct migd_vmstate maybe = { .name = "d", .version = 1, .fields = no_fields, .needed = never };

static struct arch_state arch;

static struct guest_tables *make(void)
{
	struct guest_tables *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->kvm.irqchip = t->kvm.pit = true;
	t->blocks[0] = (struct ram_block){ .name = "ram", .len = 512 * MIB, .page_size = 4096 };
	t->blocks[1] = (struct ram_block){ .name = "rom", .len = 64 * KIB, .page_size = 4096,
					   .flags = MIGD_GUEST_RAM_READONLY };
	t->n_blocks = 2;
	t->slots[0] = (struct ram_slot){ .block = 0, .slot = 0, .len = 512 * MIB };
	t->slots[1] = (struct ram_slot){ .block = 1, .slot = 1, .gpa = 0xffff0000, .len = 64 * KIB };
	t->n_slots = 2;
	t->vcpus = calloc(4, sizeof(*t->vcpus));
	t->vcpus[1].index = 1;
	t->vcpus[2].index = 2;
	t->n_vcpus = 2;
	t->devices = calloc(8, sizeof(*t->devices));
	t->devices[0] = (struct guest_device){ .name = "serial", .desc = &v3 };
	t->devices[1] = (struct guest_device){ .name = "disk", .instance = 1, .desc = &v1 };
	t->n_devices = 2;
	return t;
}

static void drop(struct guest_tables *t)
{
	free(t->vcpus);
	free(t->devices);
	free(t);
}

/* All that differs, as one error. */
static int fails(struct arch_state *a, const struct guest_tables *t, const struct buf *config, struct merr *err)
{
	struct mismatches *m = calloc(1, sizeof(*m));
	int r;

	assert_non_null(m);
	r = guest_config_check(a, t, config->data, config->len, m, err);
	if (r == 0)
		r = mismatches_fail(m, "here", err);
	free(m);
	return r;
}

static int compare(struct guest_tables *source, struct guest_tables *target, struct merr *err)
{
	struct buf out = { 0 };
	int r;

	assert_int_equal(guest_config_get(&arch, source, &out, NULL), 0);
	r = fails(&arch, target, &out, err);
	buf_done(&out);
	return r;
}

typedef void edit(struct guest_tables *t);

static void nothing(struct guest_tables *t) { (void)t; }
static void half_ram(struct guest_tables *t) { t->blocks[0].len /= 2; t->slots[0].len /= 2; }
static void odd_ram(struct guest_tables *t) { t->blocks[0].len = 4097; }
static void no_rom(struct guest_tables *t) { t->n_blocks = t->n_slots = 1; }
static void huge_pages(struct guest_tables *t) { t->blocks[0].page_size = 2 * MIB; }
static void writable_rom(struct guest_tables *t) { t->blocks[1].flags = 0; }
static void rom_elsewhere(struct guest_tables *t) { t->slots[1].gpa = 0xfffe0000; }
static void other_offset(struct guest_tables *t) { t->slots[1].offset = 4096; }
static void other_slot_numbers(struct guest_tables *t) { t->slots[0].slot = 7; t->slots[1].slot = 3; }
static void one_vcpu(struct guest_tables *t) { t->n_vcpus = 1; }
static void other_vcpu(struct guest_tables *t) { t->vcpus[1].index = 2; }
static void no_pit(struct guest_tables *t) { t->kvm.pit = false; }
static void split(struct guest_tables *t) { t->kvm.irqchip = t->kvm.pit = false; t->kvm.split_irqchip = true; }
static void ring(struct guest_tables *t) { t->kvm.dirty_ring_entries = 4096; }
static void no_serial(struct guest_tables *t) { t->devices[0] = t->devices[1]; t->n_devices = 1; }
static void optional_device(struct guest_tables *t)
{
	t->devices[t->n_devices++] = (struct guest_device){ .name = "rng", .desc = &maybe };
}
static void old_serial(struct guest_tables *t) { t->devices[0].desc = &v1; }
static void new_serial(struct guest_tables *t) { t->devices[0].desc = &v4; }
static void all_different(struct guest_tables *t)
{
	half_ram(t);
	writable_rom(t);
	one_vcpu(t);
	split(t);
	no_serial(t);
}

#define SAME_DEVICES "start the target VMM with the devices of the source"
#define SAME_MEMORY "start the target VMM with the same memory"
#define MAP_ALIKE "the target VMM must map its memory alike"

static const struct {
	edit *source, *target;
	const char *text;	/* NULL: fits */
} cases[] = {
	{ nothing, nothing, NULL },
	{ nothing, huge_pages, NULL },
	{ nothing, ring, NULL },
	{ nothing, other_slot_numbers, NULL },
	{ nothing, optional_device, NULL },
	{ half_ram, nothing, "ram block 'ram': 256 MiB at the source, 512 MiB here: " SAME_MEMORY
	  "; guest address 0x0: 0x10000000 bytes from offset 0x0 at the source, "
	  "0x20000000 bytes from offset 0x0 of 'ram' here: " MAP_ALIKE },
	{ nothing, odd_ram, "ram block 'ram': 512 MiB at the source, 4097 bytes here: " SAME_MEMORY },
	{ nothing, no_rom, "ram block 'rom': 64 KiB at the source, missing here: " SAME_MEMORY },
	{ no_rom, nothing, "ram block 'rom': missing at the source, 64 KiB here: " SAME_MEMORY },
	{ nothing, writable_rom, "ram block 'rom': read-only at the source, writable here: " SAME_MEMORY },
	{ nothing, rom_elsewhere, "guest address 0xffff0000: memory at the source, none here: " MAP_ALIKE
	  "; guest address 0xfffe0000: none at the source, memory here: " MAP_ALIKE },
	{ nothing, other_offset, "guest address 0xffff0000: 0x10000 bytes from offset 0x0 at the source, "
	  "0x10000 bytes from offset 0x1000 of 'rom' here: " MAP_ALIKE },
	{ nothing, one_vcpu, "vCPUs: 2 at the source, 1 here: start the target VMM with as many" },
	{ nothing, other_vcpu, "index of vCPU number 1: 1 at the source, 2 here: the target VMM must number its vCPUs alike" },
	{ nothing, no_pit, "in-kernel PIT: present at the source, absent here: make the target's VM alike" },
	{ no_pit, nothing, "in-kernel PIT: absent at the source, present here: make the target's VM alike" },
	{ nothing, no_serial, "device 'serial' instance 0: present at the source, missing here: " SAME_DEVICES },
	{ no_serial, nothing, "device 'serial' instance 0: missing at the source, present here: " SAME_DEVICES },
	{ optional_device, nothing, "device 'rng' instance 0: present at the source, missing here: " SAME_DEVICES },
	{ nothing, old_serial, "device 'serial' instance 0: version 3 at the source, up to version 1 here: the target VMM is too old" },
	{ nothing, new_serial, "device 'serial' instance 0: version 3 at the source, at least version 4 needed here: "
	  "the source VMM is too old" },
	{ nothing, all_different,
	  "in-kernel irqchip: present at the source, absent here: make the target's VM alike; "
	  "in-kernel PIT: present at the source, absent here: make the target's VM alike; "
	  "split irqchip: absent at the source, present here: make the target's VM alike; "
	  "ram block 'ram': 512 MiB at the source, 256 MiB here: " SAME_MEMORY "; "
	  "ram block 'rom': read-only at the source, writable here: " SAME_MEMORY "; "
	  "guest address 0x0: 0x20000000 bytes from offset 0x0 at the source, 0x10000000 bytes from offset 0x0 of 'ram' here: "
	  MAP_ALIKE "; vCPUs: 2 at the source, 1 here: start the target VMM with as many; "
	  "device 'serial' instance 0: present at the source, missing here: " SAME_DEVICES },
};

static void each_difference_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_tables *source = make(), *target = make();
		struct merr err = MERR_INIT;
		int r;

		cases[i].source(source);
		cases[i].target(target);
		r = compare(source, target, &err);
		assert_string_equal(err.msg, cases[i].text ? cases[i].text : "");
		assert_int_equal(r, cases[i].text ? -EINVAL : 0);
		drop(source);
		drop(target);
	}
}

static void start(struct buf *b)
{
	buf_be32(b, CONFIG_MAGIC);
	buf_be16(b, CONFIG_VERSION);
	buf_be16(b, 0);
}

static void start_arch(struct buf *b)
{
	start(b);
	config_put(b, CONFIG_ARCH, 0, 0, "fake", 4);
}

static void none(struct buf *b) { (void)b; }
static void bad_magic(struct buf *b) { buf_be32(b, 1); buf_be32(b, 0); }
static void bad_version(struct buf *b) { buf_be32(b, CONFIG_MAGIC); buf_be16(b, 2); buf_be16(b, 0); }
static void empty(struct buf *b) { start(b); }
static void only_arch(struct buf *b) { start_arch(b); }
static void no_arch(struct buf *b) { start(b); config_put(b, CONFIG_MACHINE, 0, 0, "\0\0\0\3\0\0\0\0", 8); }
static void other_arch(struct buf *b) { start(b); config_put(b, CONFIG_ARCH, 0, 0, "vax", 3); }
static void cut(struct buf *b) { start_arch(b); buf_be32(b, 0x20000); buf_be32(b, 0); buf_be32(b, 9); }
static void long_length(struct buf *b) { start_arch(b); buf_be32(b, 0x20000); buf_be32(b, 0); buf_be32(b, UINT32_MAX); }
static void unknown(struct buf *b) { start_arch(b); config_put(b, 77, 0, 5, "x", 1); }
static void optional(struct buf *b) { start_arch(b); config_put(b, 77, CONFIG_OPTIONAL, 5, "x", 1); }
static void short_machine(struct buf *b) { start_arch(b); config_put(b, CONFIG_MACHINE, 0, 0, "\0\0\0\3", 4); }
static void short_block(struct buf *b) { start_arch(b); config_put(b, CONFIG_RAM_BLOCK, 0, 0, "0123456", 7); }
static void nameless_block(struct buf *b) { uint8_t z[20] = { 0 }; start_arch(b); config_put(b, CONFIG_RAM_BLOCK, 0, 0, z, 20); }
static void unprintable(struct buf *b) { uint8_t z[21] = { 0 }; start_arch(b); config_put(b, CONFIG_RAM_BLOCK, 0, 0, z, 21); }
static void far_block(struct buf *b) { uint8_t z[21] = { [20] = 'x' }; start_arch(b); config_put(b, CONFIG_RAM_BLOCK, 0, 64, z, 21); }
static void stray_slot(struct buf *b) { uint8_t z[28] = { 0 }; start_arch(b); config_put(b, CONFIG_RAM_SLOT, 0, 0, z, 28); }
static void odd_vcpus(struct buf *b) { start_arch(b); config_put(b, CONFIG_VCPUS, 0, 0, "12345", 5); }
static void many_vcpus(struct buf *b) { static uint8_t z[4100]; start_arch(b); config_put(b, CONFIG_VCPUS, 0, 0, z, 4100); }
static void long_name(struct buf *b) { char n[136] = { 0 }; memset(n + 8, 'n', 128); start_arch(b); config_put(b, CONFIG_DEVICE, 0, 0, n, 136); }
static void twice(struct buf *b)
{
	start_arch(b);
	for (int i = 0; i < 2; i++)
		config_put(b, CONFIG_DEVICE, 0, 0, "\0\0\0\3\0\0\0\2serial", 14);
}

static const struct {
	void (*make)(struct buf *b);
	int code;
	const char *text;
} bad[] = {
	{ none, -EPROTO, "the source's guest description ends within its header: 0 bytes" },
	{ bad_magic, -EPROTO, "the source's guest description is none: it begins with 0x00000001 instead of 0x4d474346" },
	{ bad_version, -EPROTO, "the source's guest description has format 2, this side reads 1: update the older side" },
	{ empty, -EPROTO, "the source's guest description lacks the architecture" },
	{ only_arch, -EPROTO, "the source's guest description lacks the machine" },
	{ no_arch, -EPROTO, "the source's guest description: record 2 (id 0): comes before the architecture" },
	{ other_arch, -EINVAL, "architecture: vax at the source, fake here: choose a host of the guest's kind" },
	{ cut, -EPROTO, "the guest's description ends within a record" },
	{ long_length, -EPROTO, "the guest's description ends within a record" },
	{ unknown, -EPROTO, "the source's guest description: record 77 (id 5): is not known here: "
	  "the source is newer, update the target" },
	{ optional, -EPROTO, "the source's guest description lacks the machine" },
	{ short_machine, -EPROTO, "the source's guest description: record 2 (id 0): too short" },
	{ short_block, -EPROTO, "the source's guest description: record 3 (id 0): too short" },
	{ nameless_block, -EPROTO, "the source's guest description: record 3 (id 0): no name of 1 to 127 bytes" },
	{ unprintable, -EPROTO, "the source's guest description: record 3 (id 0): the name is not printable ASCII" },
	{ far_block, -EPROTO, "the source's guest description: record 3 (id 64): a block's index out of range or twice" },
	{ stray_slot, -EPROTO, "the source's guest description: record 4 (id 0): a slot of a block that was not announced" },
	{ odd_vcpus, -EPROTO, "the source's guest description: record 5 (id 0): not a list of at most 1024 vCPUs" },
	{ many_vcpus, -EPROTO, "the source's guest description: record 5 (id 0): not a list of at most 1024 vCPUs" },
	{ long_name, -EPROTO, "the source's guest description: record 6 (id 0): no name of 1 to 127 bytes" },
	{ twice, -EPROTO, "the source's guest description: record 6 (id 0): a device comes twice" },
};

static void each_fault_is_named(void **state)
{
	struct guest_tables *t = make();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct merr err = MERR_INIT;
		struct buf b = { 0 };
		int r;

		bad[i].make(&b);
		r = fails(&arch, t, &b, &err);
		assert_string_equal(err.msg, bad[i].text);
		assert_int_equal(r, bad[i].code);
		buf_done(&b);
	}
	drop(t);
}

static void a_description_too_long_is_not_made(void **state)
{
	struct guest_tables *t = make();
	struct merr err = MERR_INIT;
	struct buf out = { 0 };

	(void)state;
	t->n_devices = 4000;
	free(t->devices);
	t->devices = calloc(t->n_devices, sizeof(*t->devices));
	for (size_t i = 0; i < t->n_devices; i++)
		t->devices[i] = (struct guest_device){ .name = "device", .instance = (uint32_t)i, .desc = &v1 };
	assert_int_equal(guest_config_get(&arch, t, &out, &err), -E2BIG);
	assert_non_null(strstr(err.msg, "bytes, at most 60000 can be sent: it has too many devices or vCPUs"));
	buf_done(&out);
	drop(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_difference_is_named),
		cmocka_unit_test(each_fault_is_named),
		cmocka_unit_test(a_description_too_long_is_not_made),
	};

	fake_arch_init(&arch);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
