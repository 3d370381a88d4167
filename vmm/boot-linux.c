/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a Linux bzImage by the 64-bit boot protocol (Linux, Documentation/arch/x86/boot.rst and zero-page.rst): the
 * VMM does what boot loader and setup code would, and enters the kernel 512 bytes behind its load address.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/boot.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"

#define ZERO_PAGE_GPA 0x8000	/* within [PAYLOAD_BOOT_GPA, PAYLOAD_BOOT_END), after the page tables */
#define CMDLINE_GPA 0x20000
#define CMDLINE_MAX 0x10000
#define KERNEL_GPA 0x100000
#define EBDA_GPA MPTABLE_GPA	/* end of conventional memory */
#define BIOS_END_GPA 0x100000

#define KERNEL_LEN_MAX (512 * MIB)
#define INITRD_LEN_MAX (2048 * MIB)

#define SETUP_MAGIC 0x53726448	/* "HdrS" */
#define SETUP_VERSION_64BIT 0x020c	/* has xloadflags */
#define ENTRY_64BIT 0x200
#define SETUP_SECTS_DEFAULT 4
#define LOADER_UNDEFINED 0xff

/* A kernel file: setup sectors, then what goes to KERNEL_GPA. */
struct kernel {
	uint8_t *data;
	size_t len;
	struct setup_header header;
	size_t setup_len;
};

/* The header ends where the jump at its start leads; older kernels have a shorter one. */
static int parse_kernel(struct kernel *k, const char *path)
{
	const size_t header_at = offsetof(struct boot_params, hdr);
	if (k->len < sizeof(struct boot_params))
		return fail(-EINVAL, "--kernel: '%s' is too short for a bzImage", path);
	size_t header_end = 0x202 + (size_t)k->data[0x201];
	memcpy(&k->header, k->data + header_at,
	       MIN(header_end - header_at, sizeof(k->header)));
	if (k->header.header != SETUP_MAGIC)
		return fail(-EINVAL, "--kernel: '%s' is not a bzImage: no HdrS at 0x202", path);
	if (k->header.version < SETUP_VERSION_64BIT || !(k->header.xloadflags & XLF_KERNEL_64))
		return fail(-ENOTSUP, "--kernel: '%s' has no 64-bit entry point (protocol %#x)",
			    path, k->header.version);
	size_t sects = k->header.setup_sects ? k->header.setup_sects : SETUP_SECTS_DEFAULT;
	k->setup_len = (sects + 1) * 512;
	if (k->setup_len >= k->len)
		return fail(-EINVAL, "--kernel: '%s' ends within its setup code", path);
	return 0;
}

static void add_e820(struct boot_params *bp, uint64_t start, uint64_t end, uint32_t type)
{
	if (start < end)
		bp->e820_table[bp->e820_entries++] =
			(struct boot_e820_entry){ .addr = start, .size = end - start, .type = type };
}

enum { E820_RAM = 1, E820_RESERVED = 2 };

static void fill_e820(struct boot_params *bp, const struct ram *ram)
{
	add_e820(bp, 0, EBDA_GPA, E820_RAM);
	add_e820(bp, EBDA_GPA, BIOS_END_GPA, E820_RESERVED);
	add_e820(bp, BIOS_END_GPA, ram_low_len(ram), E820_RAM);
	add_e820(bp, RAM_HIGH_GPA, RAM_HIGH_GPA + ram_high_len(ram), E820_RAM);
}

/* The user's words, then where the virtio windows are, since there is no firmware table that says it. */
static int store_cmdline(struct machine *m, struct boot_params *bp)
{
	char text[CMDLINE_MAX];
	size_t max = MIN(bp->hdr.cmdline_size ? bp->hdr.cmdline_size : 255, sizeof(text) - 1);
	int len = snprintf(text, sizeof(text), "%s", m->opt->cmdline);
	for (size_t i = 0; i < m->mmio.n_ranges && (size_t)len < sizeof(text); i++) {
		const struct bus_range *r = &m->mmio.ranges[i];
		len += snprintf(text + len, sizeof(text) - (size_t)len, " virtio_mmio.device=%lluK@%#llx:%u",
				(unsigned long long)(r->len / KIB), (unsigned long long)r->base,
				r->dev->irq);
	}
	if ((size_t)len > max)
		return fail(-E2BIG, "--append: the kernel takes %zu bytes, these are %d", max, len);
	bp->hdr.cmd_line_ptr = CMDLINE_GPA;
	return machine_store(m, CMDLINE_GPA, text, (size_t)len + 1, "command line");
}

/* As high as the kernel allows, where it is least in its way. */
static int store_initrd(struct machine *m, struct boot_params *bp)
{
	if (!m->opt->initrd_path)
		return 0;
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int r = read_file(m->opt->initrd_path, INITRD_LEN_MAX, &data, &len);
	if (r < 0)
		return r;
	uint64_t end = MIN(ram_low_len(&m->ram), (uint64_t)bp->hdr.initrd_addr_max + 1);
	uint64_t kernel_end = KERNEL_GPA + bp->hdr.init_size;
	if (len > end || ((end - len) & ~0xfffULL) < kernel_end)
		return fail(-EFBIG, "--initrd: '%s' (%zu bytes) does not fit behind the kernel in "
			    "%llu MiB", m->opt->initrd_path, len,
			    (unsigned long long)(m->ram.len / MIB));
	uint64_t gpa = (end - len) & ~0xfffULL;
	bp->hdr.ramdisk_image = (uint32_t)gpa;
	bp->hdr.ramdisk_size = (uint32_t)len;
	return machine_store(m, gpa, data, len, "initrd");
}

static int load(struct machine *m, struct kernel *k)
{
	struct boot_params bp = { .hdr = k->header };
	bp.hdr.type_of_loader = LOADER_UNDEFINED;
	bp.hdr.code32_start = KERNEL_GPA;
	fill_e820(&bp, &m->ram);
	int r = machine_store(m, KERNEL_GPA, k->data + k->setup_len, k->len - k->setup_len, "kernel");
	if (r == 0 && KERNEL_GPA + (uint64_t)bp.hdr.init_size > ram_low_len(&m->ram))
		r = fail(-ENOMEM, "the kernel needs %u MiB below 3 GiB: raise --memory",
			 (unsigned int)((KERNEL_GPA + bp.hdr.init_size) / MIB + 1));
	if (r == 0)
		r = store_cmdline(m, &bp);
	if (r == 0)
		r = store_initrd(m, &bp);
	if (r == 0)
		r = mptable_store(m);
	if (r == 0)
		r = long_mode_store_tables(m);
	return r == 0 ? machine_store(m, ZERO_PAGE_GPA, &bp, sizeof(bp), "zero page") : r;
}

int boot_linux_load(struct machine *m, struct boot_entry *ret)
{
	struct kernel k = { 0 };
	int r = read_file(m->opt->boot_path, KERNEL_LEN_MAX, &k.data, &k.len);
	if (r == 0)
		r = parse_kernel(&k, m->opt->boot_path);
	if (r == 0)
		r = load(m, &k);
	free(k.data);
	if (r == 0)
		*ret = (struct boot_entry){ .long_mode = true,
					    .rip = KERNEL_GPA + ENTRY_64BIT,
					    .rsi = ZERO_PAGE_GPA };
	return r;
}
