/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: what its parts share, and how they reach each other. Set up by one thread, then only read. */
#ifndef MIGD_VMM_MACHINE_H
#define MIGD_VMM_MACHINE_H

#include <migd/guest.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/kvm.h"
#include "vmm/ram.h"

struct control;
struct io;
struct options;
struct reset;
struct vcpus;

#define MACHINE_DEVICES_MAX 24

struct machine {
	const struct options *opt;
	struct kvm kvm;
	struct ram ram;
	struct bus pio, mmio;
	struct device *devices[MACHINE_DEVICES_MAX];	/* owned */
	size_t n_devices;
	struct io *io;			/* owned */
	struct control *control;	/* owned */
	struct vcpus *vcpus;		/* owned */
	struct reset *reset;		/* the reset controller's state */
	struct device *sleep;		/* the sleep register */
	int uffd;			/* of poisoned memory, or -1 */
	struct migd_guest_cpr *cpr;	/* owned; NULL: the RAM is ours */
	struct migd_guest *guest;	/* owned; NULL in tests of devices */
	bool quiesced;			/* by the hook; of the service thread once it runs */
};

/* VM, memory, devices; no vCPUs yet. 0 or a negative errno, logged; machine_done() either way. */
int machine_init(struct machine *m, const struct options *opt);
void machine_done(struct machine *m);

/* A device wrote LEN bytes at HOST, in RAM. Any thread. */
void machine_wrote(struct machine *m, const void *host, uint64_t len);

/* Copy to guest memory as a device does. -EFAULT, logged with WHAT, if it is no RAM. */
int machine_store(struct machine *m, uint64_t gpa, const void *data, uint64_t len,
		  const char *what);

/* Tell the library what the guest did. Any thread. */
void machine_notify(struct machine *m, enum migd_guest_event event);

/* Put the devices of the board, and OPT's disks, on M's buses (devices.c). */
int devices_create(struct machine *m, const struct options *opt);

/* Devices and interrupt chips to their state after power-on. All vCPUs are held. */
int machine_reset_devices(struct machine *m);

/* Make M->guest and register everything but the vCPUs with it; quiesced if it is incoming (guest.c). Logged. */
int machine_attach(struct machine *m);

#endif
