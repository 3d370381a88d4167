/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's description for the other side: is there a VM there that this guest fits into?
 *
 * Layout: be32 CONFIG_MAGIC, be16 CONFIG_VERSION, be16 0, then records to the end, each
 * be16 kind, be16 flags, be32 id, be32 length, LENGTH bytes. A reader refuses a kind it does not know, by its number,
 * unless the record is marked optional. Growing it means adding kinds; CONFIG_VERSION changes only if this framing does.
 * Hostile input.
 */
#ifndef MIGD_GUEST_CONFIG_H
#define MIGD_GUEST_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

#define CONFIG_MAGIC 0x4d474346U	/* "MGCF" */
#define CONFIG_VERSION 1

enum config_kind {
	CONFIG_ARCH = 1,	/* arch_name, no NUL */
	CONFIG_MACHINE = 2,	/* be32 CONFIG_MACHINE_*, be32 dirty ring entries */
	CONFIG_RAM_BLOCK = 3,	/* id: index; be64 length, be64 page size, be32 flags, name */
	CONFIG_RAM_SLOT = 4,	/* id: slot; be32 block's index, be64 gpa, be64 offset, be64 length */
	CONFIG_VCPUS = 5,	/* be32 index each, rising */
	CONFIG_DEVICE = 6,	/* id: instance; be32 version, be32 minimum version, name */
	CONFIG_ARCH_FIRST = 0x100,	/* from here on: the architecture's */
};

enum config_record_flags {
	CONFIG_OPTIONAL = 1 << 0,	/* a reader that does not know the kind skips the record */
};

enum config_machine_flags {
	CONFIG_MACHINE_IRQCHIP = 1 << 0,
	CONFIG_MACHINE_PIT = 1 << 1,
	CONFIG_MACHINE_SPLIT_IRQCHIP = 1 << 2,
};

struct config_record {
	uint16_t kind;
	uint16_t flags;
	uint32_t id;
	struct rcur body;
};

void config_put(struct buf *out, uint16_t kind, uint16_t flags, uint32_t id, const void *body,
		size_t len);

/* CONFIG_MACHINE_* of this guest. */
struct guest_tables;
uint32_t config_machine_flags(const struct guest_tables *t);

/* The next record of C. 1: *ret is one; 0: the end; -EPROTO. */
int config_next(struct rcur *c, struct config_record *ret, struct merr *err);

#endif
