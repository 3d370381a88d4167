/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dongle: a device that cannot be migrated. The guest has to let go of it first, which it is asked for when a migration
 * begins; it gets it back if the migration does not happen. Nothing of it is sent, and the target has none.
 */
#include <migd/guest.h>

#include "vmm/devices.h"
#include "vmm/options.h"
#include "vmm/payload-abi.h"
#include "vmm/util.h"

struct dongle {
	uint32_t plugged;	/* the guest holds it */
	uint32_t asked;		/* it was asked to let go */
};

static const struct device_derived dongle_derived[] = {
	DEVICE_DERIVED(struct dongle, plugged, "the target has none"),
	DEVICE_DERIVED(struct dongle, asked, "the target has none"),
	DEVICE_DERIVED_END,
};

static uint64_t dongle_read(struct device *dev, uint64_t offset, unsigned int size)
{
	const struct dongle *d = dev->state;
	(void)offset;
	(void)size;
	return (d->plugged ? DONGLE_PLUGGED : 0) | (d->asked ? DONGLE_ASKED : 0);
}

static void dongle_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct dongle *d = dev->state;
	(void)offset;
	(void)size;
	if (value == DONGLE_LET_GO && d->asked)
		d->plugged = d->asked = 0;
}

static int dongle_init(struct device *dev, const struct options *opt)
{
	struct dongle *d = dev->state;
	d->plugged = !opt->incoming;
	return 0;
}

static void set(struct device *dev, uint32_t plugged, uint32_t asked)
{
	struct dongle *d = dev->state;
	(void)pthread_mutex_lock(&dev->lock);
	d->plugged = plugged;
	d->asked = asked;
	(void)pthread_mutex_unlock(&dev->lock);
}

static bool unplug_pending(void *opaque)
{
	struct device *dev = opaque;
	(void)pthread_mutex_lock(&dev->lock);
	bool plugged = ((struct dongle *)dev->state)->plugged;
	(void)pthread_mutex_unlock(&dev->lock);
	return plugged;
}

static int unplug(void *opaque)
{
	set(opaque, 1, 1);
	return 0;
}

static void cleanup(void *opaque, bool moved)
{
	if (!moved)
		set(opaque, 1, 0);
}

static const struct migd_live dongle_live = {
	.size = sizeof(dongle_live),
	.name = "dongle",
	.cleanup = cleanup,
	.unplug_pending = unplug_pending,
	.unplug = unplug,
};

const struct device_type dongle_type = {
	.name = "dongle",
	.state_size = sizeof(struct dongle),
	.derived = dongle_derived,
	.access_max = 1,
	.init = dongle_init,
	.read = dongle_read,
	.write = dongle_write,
	.live = &dongle_live,
};
