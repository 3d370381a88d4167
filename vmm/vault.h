/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault: pages of private memory that the guest puts there and gets back by a doorbell. A device whose state is too
 * large to be sent while the guest is stopped: vmm/vault-live.c sends it while it runs. Registers: vmm/payload-abi.h.
 */
#ifndef MIGD_VMM_VAULT_H
#define MIGD_VMM_VAULT_H

#include <migd/guest.h>
#include <stdbool.h>
#include <stdint.h>

#define VAULT_PAGE 4096U

/* What is known of a page. */
enum vault_flags {
	VAULT_WRITTEN = 1 << 0,	/* since power-on: it may hold something else than zeros */
	VAULT_DIRTY = 1 << 1,	/* since it was last sent */
};

struct vault {
	/* Registers. */
	uint32_t page;
	uint32_t gpa_low, gpa_high;
	uint32_t status;
	uint32_t n_pages;	/* the same on both sides */

	uint32_t n_dirty;
	uint32_t cursor;	/* where to look for the next dirty page */
	uint32_t chunks_loaded;
	uint32_t ready_after;	/* the target is ready for the switchover once so many chunks came */
	bool opened;		/* the first chunk of a migration was made, or came */
	uint8_t padding[3];
	uint8_t *memory;
	uint8_t *flags;		/* enum vault_flags by page */
};

/* Page INDEX was written; locked. */
void vault_mark(struct vault *v, uint32_t index);

/* The callbacks, without name, instance and opaque (the struct device). */
extern const struct migd_live vault_live;

#endif
