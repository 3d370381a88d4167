/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-mmio transport's registers: one row each (virtio 1.2, section 4.2.2). */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "vmm/machine.h"
#include "vmm/util.h"
#include "vmm/virtio.h"

#define MMIO_MAGIC 0x74726976	/* "virt" */
#define MMIO_VERSION 2
#define MMIO_VENDOR 0x6469676d	/* "mgid" */

static int virtio_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	const struct virtio *v = opaque;
	(void)version;
	if (v->queue.ready && !virtqueue_is_sane(&v->queue))
		return migd_vmstate_fail(err, -EINVAL, "the queue of %u entries is not in the guest's memory",
					 v->queue.len);
	return 0;
}

static const struct migd_vmstate_field virtqueue_fields[] = {
	MIGD_VMS_FIELD_U64(struct virtqueue, desc),
	MIGD_VMS_FIELD_U64(struct virtqueue, driver),
	MIGD_VMS_FIELD_U64(struct virtqueue, device),
	MIGD_VMS_FIELD_U32(struct virtqueue, len),
	MIGD_VMS_FIELD_U32(struct virtqueue, ready),
	MIGD_VMS_FIELD_U32(struct virtqueue, next_avail),
	MIGD_VMS_FIELD_U32(struct virtqueue, next_used),
	MIGD_VMS_FIELD_END,
};

const struct migd_vmstate virtqueue_state = {
	.name = "virtqueue", .version = 1, .minimum_version = 1, .fields = virtqueue_fields
};

static const struct migd_vmstate_field virtio_fields[] = {
	MIGD_VMS_FIELD_STRUCT(struct virtio, queue, struct virtqueue, &virtqueue_state),
	MIGD_VMS_FIELD_U64(struct virtio, driver_features),
	MIGD_VMS_FIELD_U32(struct virtio, device_features_sel),
	MIGD_VMS_FIELD_U32(struct virtio, driver_features_sel),
	MIGD_VMS_FIELD_U32(struct virtio, queue_sel),
	MIGD_VMS_FIELD_U32(struct virtio, status),
	MIGD_VMS_FIELD_U32(struct virtio, interrupt_status),
	MIGD_VMS_FIELD_END,
};

const struct migd_vmstate virtio_state = { .name = "virtio",
					   .version = 1,
					   .minimum_version = 1,
					   .fields = virtio_fields,
					   .post_load = virtio_post_load };

bool virtio_irq_level(const void *state)
{
	return ((const struct virtio *)state)->interrupt_status != 0;
}

static uint64_t offered_features(const struct virtio *v)
{
	return v->ops->features | 1ULL << VIRTIO_F_VERSION_1;
}

static uint32_t half(uint64_t value, uint32_t select)
{
	return select < 2 ? (uint32_t)(value >> (32 * select)) : 0;
}

static void set_half(uint64_t *value, uint32_t select, uint32_t part)
{
	if (select < 2)
		*value = (*value & ~(0xffffffffULL << (32 * select))) | (uint64_t)part << (32 * select);
}

/* The struct virtqueue registers work on; a scratch one if the guest selected a queue that does not exist. */
static struct virtqueue *selected(struct virtio *v, struct virtqueue *none)
{
	struct virtqueue *q = virtio_queue(v, v->queue_sel);
	*none = (struct virtqueue){ 0 };
	return q ? q : none;
}

static uint32_t read_device_features(struct virtio *v)
{
	return half(offered_features(v), v->device_features_sel);
}

static uint32_t read_device_id(struct virtio *v)
{
	return v->ops->device_id;
}

static uint32_t read_queue_max(struct virtio *v)
{
	return virtio_queue(v, v->queue_sel) ? VIRTQUEUE_LEN_MAX : 0;
}

static uint32_t read_queue_ready(struct virtio *v)
{
	struct virtqueue none;
	return selected(v, &none)->ready;
}

static uint32_t read_magic(struct virtio *v)
{
	(void)v;
	return MMIO_MAGIC;
}

static uint32_t read_version(struct virtio *v)
{
	(void)v;
	return MMIO_VERSION;
}

static uint32_t read_vendor(struct virtio *v)
{
	(void)v;
	return MMIO_VENDOR;
}

static void write_driver_features(struct virtio *v, uint32_t value)
{
	if (!(v->status & VIRTIO_CONFIG_S_FEATURES_OK))
		set_half(&v->driver_features, v->driver_features_sel, value);
}

static void write_queue_len(struct virtio *v, uint32_t value)
{
	struct virtqueue none;
	selected(v, &none)->len = value;
}

static void write_queue_ready(struct virtio *v, uint32_t value)
{
	struct virtqueue none, *q = selected(v, &none);
	q->ready = (value & 1) && virtqueue_is_sane(q);
	if (q->ready)
		virtio_kick(v);
}

static void write_notify(struct virtio *v, uint32_t value)
{
	if (virtio_queue(v, value))
		virtio_kick(v);
}

static void write_interrupt_ack(struct virtio *v, uint32_t value)
{
	v->interrupt_status &= ~value;
}

/* The driver may not accept what was not offered: FEATURES_OK then does not stick. */
static void write_status(struct virtio *v, uint32_t value)
{
	if (value == 0) {
		virtio_reset(v->dev);
		return;
	}
	bool wrong = v->driver_features & ~offered_features(v) ||
		     !(v->driver_features & 1ULL << VIRTIO_F_VERSION_1);
	if (value & VIRTIO_CONFIG_S_FEATURES_OK && wrong)
		value &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	v->status = (value & 0xff) | (v->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_kick(v);
}

#define WRITE_QUEUE_HALF(name, member, select)                          \
	static void name(struct virtio *v, uint32_t value)              \
	{                                                               \
		struct virtqueue none;                                  \
		set_half(&selected(v, &none)->member, (select), value); \
	}

WRITE_QUEUE_HALF(write_desc_low, desc, 0)
WRITE_QUEUE_HALF(write_desc_high, desc, 1)
WRITE_QUEUE_HALF(write_driver_low, driver, 0)
WRITE_QUEUE_HALF(write_driver_high, driver, 1)
WRITE_QUEUE_HALF(write_device_low, device, 0)
WRITE_QUEUE_HALF(write_device_high, device, 1)

/* A register is a member of struct virtio, or has functions. Without either way to read or write it: 0, ignored. */
static const struct mmio_register {
	uint16_t offset;
	uint16_t readable, writable;	/* offsets of members; 0: not so */
	uint32_t (*read)(struct virtio *v);
	void (*write)(struct virtio *v, uint32_t value);
} registers[] = {
#define AT(m) offsetof(struct virtio, m)
	{ VIRTIO_MMIO_MAGIC_VALUE, 0, 0, read_magic, NULL },
	{ VIRTIO_MMIO_VERSION, 0, 0, read_version, NULL },
	{ VIRTIO_MMIO_DEVICE_ID, 0, 0, read_device_id, NULL },
	{ VIRTIO_MMIO_VENDOR_ID, 0, 0, read_vendor, NULL },
	{ VIRTIO_MMIO_DEVICE_FEATURES, 0, 0, read_device_features, NULL },
	{ VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0, AT(device_features_sel), NULL, NULL },
	{ VIRTIO_MMIO_DRIVER_FEATURES, 0, 0, NULL, write_driver_features },
	{ VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0, AT(driver_features_sel), NULL, NULL },
	{ VIRTIO_MMIO_QUEUE_SEL, 0, AT(queue_sel), NULL, NULL },
	{ VIRTIO_MMIO_QUEUE_NUM_MAX, 0, 0, read_queue_max, NULL },
	{ VIRTIO_MMIO_QUEUE_NUM, 0, 0, NULL, write_queue_len },
	{ VIRTIO_MMIO_QUEUE_READY, 0, 0, read_queue_ready, write_queue_ready },
	{ VIRTIO_MMIO_QUEUE_NOTIFY, 0, 0, NULL, write_notify },
	{ VIRTIO_MMIO_INTERRUPT_STATUS, AT(interrupt_status), 0, NULL, NULL },
	{ VIRTIO_MMIO_INTERRUPT_ACK, 0, 0, NULL, write_interrupt_ack },
	{ VIRTIO_MMIO_STATUS, AT(status), 0, NULL, write_status },
	{ VIRTIO_MMIO_QUEUE_DESC_LOW, 0, 0, NULL, write_desc_low },
	{ VIRTIO_MMIO_QUEUE_DESC_HIGH, 0, 0, NULL, write_desc_high },
	{ VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0, 0, NULL, write_driver_low },
	{ VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0, 0, NULL, write_driver_high },
	{ VIRTIO_MMIO_QUEUE_USED_LOW, 0, 0, NULL, write_device_low },
	{ VIRTIO_MMIO_QUEUE_USED_HIGH, 0, 0, NULL, write_device_high },
#undef AT
};

static const struct mmio_register *find_register(uint64_t offset)
{
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		if (registers[i].offset == offset)
			return &registers[i];
	return NULL;
}

uint64_t virtio_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct virtio *v = dev->state;
	if (offset >= VIRTIO_MMIO_CONFIG)
		return v->ops->read_config ?
			       v->ops->read_config(v, offset - VIRTIO_MMIO_CONFIG, size) :
			       0;
	const struct mmio_register *r = size == 4 ? find_register(offset) : NULL;
	if (r && r->read)
		return r->read(v);
	return r && r->readable ? *(const uint32_t *)((const char *)v + r->readable) : 0;
}

void virtio_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio *v = dev->state;
	const struct mmio_register *r = size == 4 ? find_register(offset) : NULL;
	if (r && r->write)
		r->write(v, (uint32_t)value);
	else if (r && r->writable)
		*(uint32_t *)((char *)v + r->writable) = (uint32_t)value;
	device_update_irq(dev);
}
