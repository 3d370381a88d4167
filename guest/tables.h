/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VMM registered: the guest's tables. Written by the migd_guest_add_*() calls under the registration lock,
 * frozen by migd_guest_start(), read without a lock from then on.
 */
#ifndef MIGD_GUEST_TABLES_H
#define MIGD_GUEST_TABLES_H

#include <migd/guest.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attach/proto.h"

#define GUEST_SLOTS_MAX 128
#define GUEST_VCPUS_MAX 1024

struct ram_block {
	char name[ATTACH_STR_MAX + 1];
	uint8_t *host;
	uint64_t len;
	uint64_t fd_offset;
	uint64_t page_size;	/* of the memory: 4096 or a huge page's */
	uint32_t flags;		/* enum migd_guest_ram_flags */
	bool handed;		/* by another VMM, which still uses it (guest/cpr.h) */
	int fd;			/* owned duplicate */
};

struct ram_slot {
	unsigned int block;
	uint32_t slot;
	uint64_t gpa;
	uint64_t offset;	/* in the block */
	uint64_t len;
};

/* What a device was called up to a version. */
struct guest_alias {
	bool is_set;
	char name[ATTACH_STR_MAX + 1];
	uint32_t instance;
	uint32_t version;
};

struct guest_device {
	char name[ATTACH_STR_MAX + 1];
	uint32_t instance;
	const struct migd_vmstate *desc;	/* with ops: made up, versions and needed() only */
	struct migd_guest_device_ops *ops;	/* owned; NULL: the description says it all */
	void *opaque;
	int priority;
	struct guest_alias alias;
	char *unmigratable;	/* owned; why, or NULL */
};

struct live_device;	/* guest/live.h */

struct guest_vcpu {
	unsigned int index;
	int fd;
	struct kvm_run *run;
};

struct guest_tables {
	struct migd_guest_kvm kvm;
	struct ram_block blocks[ATTACH_RAM_BLOCKS_MAX];
	size_t n_blocks;
	struct ram_slot slots[GUEST_SLOTS_MAX];
	size_t n_slots;
	struct guest_device *devices;	/* in saving order once frozen */
	size_t n_devices;
	struct live_device *live;	/* ATTACH_LIVE_DEVICES_MAX, once there is one */
	size_t n_live;
	struct guest_vcpu *vcpus;	/* by index once frozen */
	size_t n_vcpus;
};

#endif
