/* SPDX-License-Identifier: Apache-2.0 */
/* The power-off port: the one value that means it ends the guest. It has no state. */
#include "vmm/control.h"
#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"

static void poweroff_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)offset;
	(void)size;
	if ((uint8_t)value != PAYLOAD_POWEROFF_VALUE)
		return;
	note(LOG_NOTICE, "the guest powers off");
	machine_notify(dev->machine, MIGD_GUEST_EVENT_SHUTDOWN);
	control_end(dev->machine->control, END_POWEROFF, 0);
}

const struct device_type poweroff_type = {
	.name = "poweroff",
	.access_max = 1,
	.write = poweroff_write,
};
