/* SPDX-License-Identifier: Apache-2.0 */
/* An address space of devices: who answers to an address. */
#include "vmm/bus.h"

#include <errno.h>

#include "vmm/device.h"
#include "vmm/util.h"

int bus_add(struct bus *bus, uint64_t base, uint64_t len, struct device *dev)
{
	for (size_t i = 0; i < bus->n_ranges; i++) {
		const struct bus_range *r = &bus->ranges[i];
		if (base < r->base + r->len && r->base < base + len)
			return -EEXIST;
	}
	if (bus->n_ranges == BUS_RANGES_MAX)
		return -ENOSPC;
	bus->ranges[bus->n_ranges++] = (struct bus_range){ base, len, dev };
	return 0;
}

static const struct bus_range *find(const struct bus *bus, uint64_t addr)
{
	for (size_t i = 0; i < bus->n_ranges; i++)
		if (addr - bus->ranges[i].base < bus->ranges[i].len)
			return &bus->ranges[i];
	return NULL;
}

static uint64_t size_mask(unsigned int size)
{
	return size >= 8 ? UINT64_MAX : (1ULL << (8 * size)) - 1;
}

/* An access wider than the device's registers is several: what a PC's bus does to an 8-bit card. */
uint64_t bus_read(const struct bus *bus, uint64_t addr, unsigned int size)
{
	uint64_t value = 0;
	unsigned int step;
	for (unsigned int at = 0; at < size; at += step) {
		const struct bus_range *r = find(bus, addr + at);
		step = r ? MIN(size, r->dev->type->access_max) : 1;
		uint64_t part = r ? device_read(r->dev, addr + at - r->base, step) : bus->absent;
		value |= (part & size_mask(step)) << (8 * at);
	}
	return value;
}

void bus_write(const struct bus *bus, uint64_t addr, unsigned int size, uint64_t value)
{
	unsigned int step;
	for (unsigned int at = 0; at < size; at += step) {
		const struct bus_range *r = find(bus, addr + at);
		step = r ? MIN(size, r->dev->type->access_max) : 1;
		if (r)
			device_write(r->dev, addr + at - r->base, step,
				     value >> (8 * at) & size_mask(step));
	}
}
