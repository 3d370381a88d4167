/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device is to the rest of the VMM. A device's kind says in a table how to make it, read and write its registers,
 * and which bytes of its struct make up its state; devices.c has the rows of those there are.
 *
 * dev->lock protects a device's struct. device_read(), device_write() and device_reset() take it; hooks run with
 * vCPU and I/O threads parked and need not. Order: device lock, then whatever the library takes.
 */
#ifndef MIGD_VMM_DEVICE_H
#define MIGD_VMM_DEVICE_H

#include <migd/guest.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;
struct machine;
struct options;

/* Bytes of a device's struct that its description leaves out, and why that is right. */
struct device_derived {
	size_t offset;
	size_t len;	/* 0 ends a table */
	const char *why;
};

#define DEVICE_DERIVED(S, m, why) { offsetof(S, m), sizeof(((S *)0)->m), why }
#define DEVICE_DERIVED_END { 0, 0, NULL }

struct device_type {
	const char *name;			/* on the wire */
	size_t state_size;			/* of the struct that `state` describes */
	const struct migd_vmstate *state;	/* NULL: nothing of the struct is saved */
	const struct device_derived *derived;
	const struct migd_live *live;		/* its opaque is the struct device; NULL: none */
	unsigned int access_max;		/* widest register access, bytes */
	/* Each may be NULL. init: 0 or a negative errno, logged; done is called after a failed init too. */
	int (*init)(struct device *dev, const struct options *opt);
	void (*done)(struct device *dev);
	void (*reset)(struct device *dev);
	uint64_t (*read)(struct device *dev, uint64_t offset, unsigned int size);
	void (*write)(struct device *dev, uint64_t offset, unsigned int size, uint64_t value);
	bool (*irq_level)(const void *state);
	/* The hooks of migd_guest_hooks. */
	void (*quiesce)(struct device *dev);
	void (*unquiesce)(struct device *dev);
	int (*check)(struct device *dev);	/* after_load */
	void (*activate)(struct device *dev);
	int (*release)(struct device *dev);
	int (*reclaim)(struct device *dev);
	/* Announce the guest on the network, if the device's id is among these; none: in any case. */
	void (*announce)(struct device *dev, const char *const *ids, size_t n_ids);
};

struct device {
	const struct device_type *type;
	struct machine *machine;
	unsigned int instance;	/* among those of its kind */
	unsigned int irq;	/* GSI */
	bool irq_level;		/* what the line was set to last */
	pthread_mutex_t lock;
	void *state;		/* the device's struct, owned */
};

/* Make a device in its state after power-on. -errno, logged. */
int device_new(struct machine *machine, const struct device_type *type, unsigned int instance,
	       unsigned int irq, const struct options *opt, struct device **ret);
struct device *device_free(struct device *dev);

uint64_t device_read(struct device *dev, uint64_t offset, unsigned int size);
void device_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value);
void device_reset(struct device *dev);

/* Bring the interrupt line to what the state says; locked. */
void device_update_irq(struct device *dev);
/* The same although the line may not be where we left it: after a load. */
void device_assert_irq(struct device *dev);

#endif
