/* SPDX-License-Identifier: Apache-2.0 */
/* Entering 64-bit mode directly: page tables, GDT, control registers (Intel SDM 3A, 4.5; Linux, x86/boot.rst, 64-bit). */
#include <errno.h>

#include "vmm/boot.h"
#include "vmm/machine.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"

#define PML4_GPA PAYLOAD_BOOT_GPA
#define PDPT_GPA (PML4_GPA + 0x1000)
#define PD_GPA (PDPT_GPA + 0x1000)	/* one each GiB */
#define N_PD 4
#define GDT_GPA (PD_GPA + N_PD * 0x1000)

#define TABLE_ENTRIES 512
#define PTE_TABLE 0x003	/* present, writable */
#define PTE_PAGE 0x083	/* and large */

/* Selectors that Linux wants (__BOOT_CS, __BOOT_DS). */
#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18
#define GDT_ENTRIES 4
#define GDT_CODE 0x00af9b000000ffffULL
#define GDT_DATA 0x00cf93000000ffffULL

#define CR0_ENTRY 0x80010033ULL	/* PG WP NE ET MP PE */
#define CR4_ENTRY 0x00000620ULL	/* OSXMMEXCPT OSFXSR PAE */
#define CR4_OSXSAVE (1ULL << 18)
#define EFER_ENTRY 0x500ULL	/* LMA LME */

#define LEAF1_ECX_XSAVE (1U << 26)
#define LEAF_80000001_EDX_1GIB (1U << 26)

_Static_assert(GDT_GPA + 0x1000 <= PAYLOAD_BOOT_END, "tables reach into a payload's memory");

static bool has_gib_pages(const struct machine *m)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(m->kvm.cpuid, 0x80000001, 0);
	return e && e->edx & LEAF_80000001_EDX_1GIB;
}

static int store_pdpt(struct machine *m)
{
	uint64_t pdpt[TABLE_ENTRIES] = { 0 };
	for (uint64_t i = 0; i < N_PD; i++)
		pdpt[i] = (PD_GPA + i * 0x1000) | PTE_TABLE;
	/* RAM above 4 GiB where that takes no more tables. */
	uint64_t end = N_PD + (ram_high_len(&m->ram) + GIB - 1) / GIB;
	for (uint64_t i = N_PD; has_gib_pages(m) && i < MIN(end, TABLE_ENTRIES); i++)
		pdpt[i] = i * GIB | PTE_PAGE;
	return machine_store(m, PDPT_GPA, pdpt, sizeof(pdpt), "page tables");
}

int long_mode_store_tables(struct machine *m)
{
	uint64_t table[TABLE_ENTRIES] = { PDPT_GPA | PTE_TABLE };
	int r = machine_store(m, PML4_GPA, table, sizeof(table), "page tables");
	if (r == 0)
		r = store_pdpt(m);
	for (uint64_t pd = 0; r == 0 && pd < N_PD; pd++) {
		for (uint64_t i = 0; i < TABLE_ENTRIES; i++)
			table[i] = (pd * TABLE_ENTRIES + i) * 2 * MIB | PTE_PAGE;
		r = machine_store(m, PD_GPA + pd * 0x1000, table, sizeof(table), "page tables");
	}
	uint64_t gdt[GDT_ENTRIES] = { [SELECTOR_CODE / 8] = GDT_CODE, [SELECTOR_DATA / 8] = GDT_DATA };
	return r == 0 ? machine_store(m, GDT_GPA, gdt, sizeof(gdt), "GDT") : r;
}

uint64_t long_mode_xcr0(const struct machine *m)
{
	const struct kvm_cpuid_entry2 *features = cpuid_find(m->kvm.cpuid, 1, 0);
	const struct kvm_cpuid_entry2 *xsave = cpuid_find(m->kvm.cpuid, 0xd, 0);
	if (!features || !(features->ecx & LEAF1_ECX_XSAVE) || !xsave)
		return 0;
	return (uint64_t)xsave->edx << 32 | xsave->eax;
}

void long_mode_set_sregs(const struct machine *m, struct kvm_sregs *sregs)
{
	struct kvm_segment code = { .limit = 0xffffffff, .selector = SELECTOR_CODE, .type = 0xb,
				    .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff, .selector = SELECTOR_DATA, .type = 0x3,
				    .present = 1, .s = 1, .db = 1, .g = 1 };
	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->gdt = (struct kvm_dtable){ .base = GDT_GPA, .limit = GDT_ENTRIES * 8 - 1 };
	sregs->idt = (struct kvm_dtable){ 0 };
	sregs->cr3 = PML4_GPA;
	sregs->cr4 = CR4_ENTRY | (long_mode_xcr0(m) ? CR4_OSXSAVE : 0);
	sregs->cr0 = CR0_ENTRY;
	sregs->efer = EFER_ENTRY;
}
