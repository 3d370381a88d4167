/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio-mmio disk in memory, just enough to drive the payload "disk" without migd-vmm. */
#ifndef MIGD_TESTS_BARE_DISK_H
#define MIGD_TESTS_BARE_DISK_H

#include <stdint.h>

struct bare_disk;

/*
 * The disk at window 0, zeros at first. It reads and writes guest memory and raises its line
 * through vm_fd.
 */
struct bare_disk *bare_disk_new(int vm_fd, uint8_t *memory, uint64_t memory_bytes,
				uint64_t size_bytes);
void bare_disk_free(struct bare_disk *disk);
/* Changes the byte at offset. */
void bare_disk_damage(struct bare_disk *disk, uint64_t offset);

/* An access to the window; calls of several vCPUs are serialised by the disk. */
void bare_disk_read(struct bare_disk *disk, uint64_t offset, void *data, uint32_t len_bytes);
void bare_disk_write(struct bare_disk *disk, uint64_t offset, const void *data, uint32_t len_bytes);

#endif
