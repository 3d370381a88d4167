/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paravirtual panic device: a port by which a kernel says that it crashed (QEMU's pvpanic, docs/specs/pvpanic). Read:
 * the events there are; written: those that happened. It has no state.
 */
#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"

static uint64_t pvpanic_read(struct device *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return PAYLOAD_PVPANIC_PANICKED;
}

static void pvpanic_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)offset;
	(void)size;
	if (!(value & PAYLOAD_PVPANIC_PANICKED))
		return;
	note(LOG_ERR, "the guest says that it crashed; it stays stopped");
	machine_notify(dev->machine, MIGD_GUEST_EVENT_PANIC);
}

const struct device_type pvpanic_type = {
	.name = "pvpanic",
	.access_max = 1,
	.read = pvpanic_read,
	.write = pvpanic_write,
};
