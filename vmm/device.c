/* SPDX-License-Identifier: Apache-2.0 */
/* What all devices have in common: making them, register access, the interrupt line. */
#include "vmm/device.h"

#include <errno.h>

#include "vmm/machine.h"
#include "vmm/util.h"

int device_new(struct machine *machine, const struct device_type *type, unsigned int instance,
	       unsigned int irq, const struct options *opt, struct device **ret)
{
	struct device *dev = calloc(1, sizeof(*dev));
	if (!dev)
		return fail(-ENOMEM, "no memory for device '%s'", type->name);
	*dev = (struct device){
		.type = type, .machine = machine, .instance = instance, .irq = irq
	};
	(void)pthread_mutex_init(&dev->lock, NULL);
	dev->state = calloc(1, type->state_size ? type->state_size : 1);
	int r = dev->state ? 0 : fail(-ENOMEM, "no memory for device '%s'", type->name);
	if (r == 0 && type->init)
		r = type->init(dev, opt);
	if (r < 0) {
		(void)device_free(dev);
		return r;
	}
	device_reset(dev);
	*ret = dev;
	return 0;
}

struct device *device_free(struct device *dev)
{
	if (!dev)
		return NULL;
	if (dev->state && dev->type->done)
		dev->type->done(dev);
	free(dev->state);
	(void)pthread_mutex_destroy(&dev->lock);
	free(dev);
	return NULL;
}

uint64_t device_read(struct device *dev, uint64_t offset, unsigned int size)
{
	if (!dev->type->read)
		return UINT64_MAX;
	(void)pthread_mutex_lock(&dev->lock);
	uint64_t value = dev->type->read(dev, offset, size);
	(void)pthread_mutex_unlock(&dev->lock);
	return value;
}

void device_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	if (!dev->type->write)
		return;
	(void)pthread_mutex_lock(&dev->lock);
	dev->type->write(dev, offset, size, value);
	(void)pthread_mutex_unlock(&dev->lock);
}

void device_reset(struct device *dev)
{
	(void)pthread_mutex_lock(&dev->lock);
	if (dev->type->reset)
		dev->type->reset(dev);
	device_update_irq(dev);
	(void)pthread_mutex_unlock(&dev->lock);
}

void device_update_irq(struct device *dev)
{
	bool level = dev->type->irq_level && dev->type->irq_level(dev->state);
	if (level == dev->irq_level)
		return;
	dev->irq_level = level;
	kvm_set_irq(&dev->machine->kvm, dev->irq, level);
}

void device_assert_irq(struct device *dev)
{
	if (!dev->type->irq_level)
		return;
	dev->irq_level = dev->type->irq_level(dev->state);
	kvm_set_irq(&dev->machine->kvm, dev->irq, dev->irq_level);
}
