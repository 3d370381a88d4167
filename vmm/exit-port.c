/* SPDX-License-Identifier: Apache-2.0 */
/* The exit port: a byte written ends the VMM with that status. It has no state. */
#include "vmm/control.h"
#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/util.h"

static void exit_port_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)offset;
	(void)size;
	note(LOG_NOTICE, "the guest ends with status %u", (uint8_t)value);
	machine_notify(dev->machine, MIGD_GUEST_EVENT_SHUTDOWN);
	control_end(dev->machine->control, END_EXIT, (uint8_t)value);
}

const struct device_type exit_port_type = {
	.name = "exit-port",
	.access_max = 1,
	.write = exit_port_write,
};
