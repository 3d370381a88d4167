/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of devices there are. */
#ifndef MIGD_VMM_DEVICES_H
#define MIGD_VMM_DEVICES_H

#include "vmm/device.h"

extern const struct device_type serial_type;
extern const struct device_type rtc_type;
extern const struct device_type i8042_type;
extern const struct device_type exit_port_type;
extern const struct device_type pvpanic_type;
extern const struct device_type poweroff_type;
extern const struct device_type sleep_type;
extern const struct device_type reset_type;
extern const struct device_type virtio_blk_type;
extern const struct device_type dongle_type;
extern const struct device_type vault_type;
extern const struct device_type virtio_net_type;
extern const struct device_type virtio_rng_type;

/* All of them, ended by NULL. */
extern const struct device_type *const device_types[];

#endif
