/* SPDX-License-Identifier: Apache-2.0 */
/* The board: which devices there are, and where. */
#include "vmm/devices.h"

#include <errno.h>

#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"

const struct device_type *const device_types[] = {
	&reset_type, &serial_type, &rtc_type, &i8042_type, &exit_port_type, &pvpanic_type,
	&poweroff_type, &sleep_type, &virtio_blk_type, &virtio_net_type, &virtio_rng_type,
	&vault_type, &dongle_type, NULL,
};

/* Devices at I/O ports, where a PC has them (payload-abi.h has those that are ours). */
static const struct board_row {
	const struct device_type *type;
	uint16_t port;
	uint16_t n_ports;	/* 0: on no bus */
	unsigned int irq;
} board[] = {
	{ &reset_type, 0, 0, 0 },
	{ &serial_type, PAYLOAD_PORT_SERIAL, 8, 4 },
	{ &rtc_type, 0x70, 2, 8 },
	{ &i8042_type, 0x60, 5, 1 },	/* 0x61 in between is KVM's */
	{ &exit_port_type, PAYLOAD_PORT_EXIT, 1, 0 },
	{ &pvpanic_type, PAYLOAD_PORT_PVPANIC, 1, 0 },
	{ &poweroff_type, PAYLOAD_PORT_POWEROFF, 1, 0 },
	{ &sleep_type, PAYLOAD_PORT_SLEEP, 8, 0 },
};

static int create(struct machine *m, const struct device_type *type, unsigned int instance,
		  unsigned int irq, struct device **ret)
{
	if (m->n_devices == MACHINE_DEVICES_MAX)
		return fail(-ENOSPC, "no room for device '%s'", type->name);
	int r = device_new(m, type, instance, irq, m->opt, ret);
	if (r == 0)
		m->devices[m->n_devices++] = *ret;
	return r;
}

/* The next free window is the number of windows taken. */
static int create_virtio(struct machine *m, const struct device_type *type, unsigned int instance)
{
	unsigned int window = (unsigned int)m->mmio.n_ranges;
	struct device *dev = NULL;
	int r = create(m, type, instance, PAYLOAD_VIRTIO_GSI + window, &dev);
	if (r == 0)
		r = bus_add(&m->mmio, PAYLOAD_VIRTIO_GPA + window * PAYLOAD_VIRTIO_STRIDE,
			    PAYLOAD_VIRTIO_STRIDE, dev);
	return r;
}

/* Those that there are only if an option asks for them. */
static int create_extras(struct machine *m, const struct options *opt)
{
	struct device *dev = NULL;
	int r = opt->vault.bytes ? create(m, &vault_type, 0, 0, &dev) : 0;
	if (r == 0 && dev)
		r = bus_add(&m->mmio, PAYLOAD_VAULT_GPA, VAULT_WINDOW_LEN, dev);
	dev = NULL;
	if (r == 0 && opt->dongle)
		r = create(m, &dongle_type, 0, 0, &dev);
	if (r == 0 && dev)
		r = bus_add(&m->pio, PAYLOAD_PORT_DONGLE, 1, dev);
	return r;
}

int devices_create(struct machine *m, const struct options *opt)
{
	for (size_t i = 0; i < ARRAY_SIZE(board); i++) {
		struct device *dev = NULL;
		int r = create(m, board[i].type, 0, board[i].irq, &dev);
		if (r == 0 && board[i].n_ports)
			r = bus_add(&m->pio, board[i].port, board[i].n_ports, dev);
		if (r < 0)
			return r;
	}
	for (unsigned int i = 0; i < opt->n_disks; i++) {
		int r = create_virtio(m, &virtio_blk_type, i);
		if (r < 0)
			return r;
	}
	for (unsigned int i = 0; i < opt->n_nets; i++) {
		int r = create_virtio(m, &virtio_net_type, i);
		if (r < 0)
			return r;
	}
	int r = create_virtio(m, &virtio_rng_type, 0);
	return r == 0 ? create_extras(m, opt) : r;
}
