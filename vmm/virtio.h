/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport (virtio 1.2, section 4.2, version 2); the devices embed it as the first member of their
 * structs. One queue's requests are served on the I/O thread, one at a time, without the device's lock; other queues are
 * filled as the device sees fit.
 */
#ifndef MIGD_VMM_VIRTIO_H
#define MIGD_VMM_VIRTIO_H

#include <migd/guest.h>

#include "vmm/device.h"
#include "vmm/io.h"
#include "vmm/virtqueue.h"

struct virtio;

struct virtio_ops {
	uint32_t device_id;		/* VIRTIO_ID_* */
	uint64_t features;		/* besides VIRTIO_F_VERSION_1 */
	uint32_t n_queues;		/* 0 means 1 */
	uint32_t serve_queue;		/* whose requests `serve` gets */
	/* One request; how many bytes were written into the chain. I/O thread, not locked. CHAIN's buffers may be changed. */
	uint32_t (*serve)(struct virtio *v, struct virtq_chain *chain);
	/* False: requests have to wait; virtio_kick() when that changes. NULL: never. */
	bool (*may_serve)(struct virtio *v);
	/* Device configuration: SIZE (1, 2, 4) bytes at OFFSET. NULL: none. */
	uint32_t (*read_config)(struct virtio *v, uint64_t offset, unsigned int size);
};

struct virtio {
	struct device *dev;
	const struct virtio_ops *ops;
	struct io_watch kick;		/* an eventfd */
	pthread_cond_t idle;		/* with dev->lock */
	struct virtq_chain *chain;	/* of the I/O thread */
	struct virtqueue *more;		/* queues 1 and up, in the device's struct and description */
	struct virtqueue queue;		/* queue 0 */
	uint64_t driver_features;
	uint32_t device_features_sel, driver_features_sel;
	uint32_t queue_sel;
	uint32_t status;
	uint32_t interrupt_status;
	uint32_t serving;		/* a request is being served */
};

extern const struct migd_vmstate virtio_state;
/* Of a queue in `more`. */
extern const struct migd_vmstate virtqueue_state;

/* For the derived table of a device whose struct S begins with a struct virtio called `virtio`. */
#define VIRTIO_DERIVED(S)                                                                  \
	DEVICE_DERIVED(S, virtio.dev, "of this process"),                                  \
		DEVICE_DERIVED(S, virtio.ops, "constant"),                                 \
		DEVICE_DERIVED(S, virtio.kick, "every queue is looked at after a pause"),  \
		DEVICE_DERIVED(S, virtio.idle, "of this process"),                         \
		DEVICE_DERIVED(S, virtio.more, "of this process"),                         \
		DEVICE_DERIVED(S, virtio.chain, "of this process"),                        \
		DEVICE_DERIVED(S, virtio.serving, "nothing is in flight when state is saved")

int virtio_init(struct virtio *v, struct device *dev, const struct virtio_ops *ops);
void virtio_done(struct virtio *v);

/* NULL: there is no such queue. */
struct virtqueue *virtio_queue(struct virtio *v, uint32_t index);

/*
 * Put LEN bytes into the next buffer of queue INDEX and give it back, if the driver lets the device work and there is one
 * that is long enough; else they are lost. I/O thread, not locked.
 */
void virtio_fill(struct virtio *v, uint32_t index, const void *data, size_t len);

/* Look at the queue, on the I/O thread. Any thread. */
void virtio_kick(struct virtio *v);

/* For struct device_type; the device's struct begins with a struct virtio. */
void virtio_reset(struct device *dev);
uint64_t virtio_read(struct device *dev, uint64_t offset, unsigned int size);
void virtio_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value);
bool virtio_irq_level(const void *state);
void virtio_unquiesce(struct device *dev);

#endif
