/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest starts from: loaded into its memory at the start and again at every reset. */
#ifndef MIGD_VMM_BOOT_H
#define MIGD_VMM_BOOT_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct machine;

/* How vCPUs enter. */
struct boot_entry {
	bool long_mode;		/* else real mode, at 0:rip */
	bool all_vcpus;		/* else the others wait for a start-up IPI */
	uint64_t rip;
	uint64_t rsi;		/* long mode */
	uint64_t rdx;		/* real mode */
};

/* Load what the command line says. 0 or a negative errno, logged. All vCPUs are stopped. */
int boot_load(struct machine *m, struct boot_entry *ret);

/* The sources, one file each. */
int boot_sector_load(struct machine *m, struct boot_entry *ret);
int boot_linux_load(struct machine *m, struct boot_entry *ret);
int boot_payload_load(struct machine *m, struct boot_entry *ret);

/* Page tables (4 GiB identity mapped) and GDT for long mode, in [PAYLOAD_BOOT_GPA, PAYLOAD_BOOT_END). */
int long_mode_store_tables(struct machine *m);
/* Segments and control registers that go with them. */
void long_mode_set_sregs(const struct machine *m, struct kvm_sregs *sregs);
/* The XSAVE features that the guest's CPUID has, or 0 without XSAVE. */
uint64_t long_mode_xcr0(const struct machine *m);

/* An MP table (Intel MultiProcessor Specification 1.4) at MPTABLE_GPA: what a kernel without ACPI learns of vCPUs and
 * interrupts from. */
#define MPTABLE_GPA 0x9fc00
int mptable_store(struct machine *m);

#endif
