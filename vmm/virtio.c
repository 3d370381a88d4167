/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device's life and its queues, on the I/O thread. */
#include "vmm/virtio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "vmm/machine.h"
#include "vmm/util.h"

void virtio_kick(struct virtio *v)
{
	(void)!write(v->kick.fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static uint32_t n_queues(const struct virtio *v)
{
	return v->ops->n_queues ? v->ops->n_queues : 1;
}

/* One that there is. */
static struct virtqueue *queue_at(struct virtio *v, uint32_t index)
{
	return index == 0 ? &v->queue : &v->more[index - 1];
}

struct virtqueue *virtio_queue(struct virtio *v, uint32_t index)
{
	return index < n_queues(v) ? queue_at(v, index) : NULL;
}

static bool is_live(const struct virtio *v, const struct virtqueue *q)
{
	return q->ready && v->status & VIRTIO_CONFIG_S_DRIVER_OK &&
	       !(v->status & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* Nothing can be trusted any more until the driver resets the device (section 2.1.2). */
static void break_device(struct virtio *v)
{
	note(LOG_WARNING, "%s %u: the driver's rings are broken", v->dev->type->name,
	     v->dev->instance);
	v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	v->interrupt_status |= VIRTIO_MMIO_INT_CONFIG;
	device_update_irq(v->dev);
}

/* Locked, and again when it returns; in between the request is served. */
static void serve_one(struct virtio *v, struct virtqueue *q)
{
	struct device *dev = v->dev;
	struct virtq_chain *chain = v->chain;
	struct iovec original[VIRTQUEUE_LEN_MAX];
	unsigned int n = chain->n_out + chain->n_in;
	for (unsigned int i = 0; i < n; i++)
		original[i] = chain->iov[i];
	v->serving = 1;
	(void)pthread_mutex_unlock(&dev->lock);
	uint32_t written = v->ops->serve(v, chain);
	(void)pthread_mutex_lock(&dev->lock);
	v->serving = 0;
	(void)pthread_cond_broadcast(&v->idle);
	for (unsigned int i = 0; i < n; i++)
		chain->iov[i] = original[i];
	if (virtqueue_push(q, dev->machine, chain, written))
		v->interrupt_status |= VIRTIO_MMIO_INT_VRING;
	device_update_irq(dev);
}

static void kicked(void *opaque, uint32_t events)
{
	struct virtio *v = opaque;
	struct device *dev = v->dev;
	struct virtqueue *q = queue_at(v, v->ops->serve_queue);
	(void)events;
	(void)!read(v->kick.fd, &(uint64_t){ 0 }, sizeof(uint64_t));
	(void)pthread_mutex_lock(&dev->lock);
	while (is_live(v, q) && !io_pausing(dev->machine->io) &&
	       (!v->ops->may_serve || v->ops->may_serve(v))) {
		int r = virtqueue_pop(q, dev->machine, v->chain);
		if (r < 0)
			break_device(v);
		if (r <= 0)
			break;
		serve_one(v, q);
	}
	(void)pthread_mutex_unlock(&dev->lock);
}

static void fill_locked(struct virtio *v, struct virtqueue *q, const void *data, size_t len)
{
	struct virtq_chain *c = v->chain;
	struct iovec original[VIRTQUEUE_LEN_MAX];
	int r = is_live(v, q) ? virtqueue_pop(q, v->dev->machine, c) : 0;
	if (r < 0)
		break_device(v);
	if (r <= 0)
		return;
	struct iovec *in = c->iov + c->n_out;
	bool fits = iov_len(in, c->n_in) >= len;
	memcpy(original, in, c->n_in * sizeof(*in));
	if (fits)
		(void)iov_write_front(in, c->n_in, data, len);
	memcpy(in, original, c->n_in * sizeof(*in));
	if (virtqueue_push(q, v->dev->machine, c, fits ? (uint32_t)len : 0))
		v->interrupt_status |= VIRTIO_MMIO_INT_VRING;
	device_update_irq(v->dev);
}

void virtio_fill(struct virtio *v, uint32_t index, const void *data, size_t len)
{
	(void)pthread_mutex_lock(&v->dev->lock);
	fill_locked(v, queue_at(v, index), data, len);
	(void)pthread_mutex_unlock(&v->dev->lock);
}

int virtio_init(struct virtio *v, struct device *dev, const struct virtio_ops *ops)
{
	v->dev = dev;
	v->ops = ops;
	(void)pthread_cond_init(&v->idle, NULL);
	v->kick = (struct io_watch){ .ready = kicked, .opaque = v, .events = EPOLLIN };
	v->kick.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	v->chain = malloc(sizeof(*v->chain));
	if (v->kick.fd < 0 || !v->chain)
		return fail(-ENOMEM, "no memory for %s %u", dev->type->name, dev->instance);
	int r = io_add(dev->machine->io, &v->kick);
	return r < 0 ? fail(r, "cannot wait for an eventfd: %s", strerrordesc_np(-r)) : 0;
}

void virtio_done(struct virtio *v)
{
	if (!v->ops)
		return;
	if (v->kick.fd >= 0)
		(void)close(v->kick.fd);
	free(v->chain);
	(void)pthread_cond_destroy(&v->idle);
}

/* Once the driver reads status 0 the device must not touch its buffers: wait for the request that is served. */
void virtio_reset(struct device *dev)
{
	struct virtio *v = dev->state;
	v->status = 0;
	while (v->serving)
		(void)pthread_cond_wait(&v->idle, &dev->lock);
	for (uint32_t i = 0; i < n_queues(v); i++)
		*queue_at(v, i) = (struct virtqueue){ 0 };
	v->driver_features = 0;
	v->device_features_sel = v->driver_features_sel = v->queue_sel = 0;
	v->interrupt_status = 0;
}

/* Requests that the pause left in the queue. */
void virtio_unquiesce(struct device *dev)
{
	virtio_kick(dev->state);
}
