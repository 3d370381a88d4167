/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address space of devices: I/O ports or the gap in guest memory. Filled before the vCPUs start, then only read.
 */
#ifndef MIGD_VMM_BUS_H
#define MIGD_VMM_BUS_H

#include <stddef.h>
#include <stdint.h>

struct device;

#define BUS_RANGES_MAX 16

struct bus_range {
	uint64_t base;
	uint64_t len;
	struct device *dev;
};

struct bus {
	struct bus_range ranges[BUS_RANGES_MAX];
	size_t n_ranges;
	uint64_t absent;	/* what a read gets where nothing is */
};

/* -EEXIST if the range overlaps another, -ENOSPC. */
int bus_add(struct bus *bus, uint64_t base, uint64_t len, struct device *dev);

/* One access of SIZE (1, 2, 4, 8) bytes; little endian. vCPU threads. */
uint64_t bus_read(const struct bus *bus, uint64_t addr, unsigned int size);
void bus_write(const struct bus *bus, uint64_t addr, unsigned int size, uint64_t value);

#endif
