/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-mmio device with one queue, driven by the payload (virtio 1.2, sections 2.7, 3.1.1
 * and 4.2).
 */
#ifndef MIGD_VMM_PAYLOADS_VIRTIO_H
#define MIGD_VMM_PAYLOADS_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

enum { VIRTIO_ID_BLOCK = 2, VIRTIO_ID_ENTROPY = 4 };

/* Descriptor flags. */
enum { VIRTIO_NEXT = 1, VIRTIO_DEVICE_WRITES = 2 };

#define VIRTIO_QUEUE_LEN 32

struct virtio_queue;

struct virtio {
	uint64_t window_gpa;
	struct virtio_queue *queue;
	uint16_t n_submitted;
	uint16_t n_taken;
};

/*
 * Finds the device of that kind in the window and starts it with queue 0 and no feature but
 * VERSION_1. Where it is not there or refuses, the payload fails. One device a payload: the queue
 * is in the image.
 */
bool virtio_open(struct virtio *v, unsigned int window, uint32_t device_id);
uint64_t virtio_config64(const struct virtio *v, unsigned int offset);

/* Descriptor index says where a part of a request is; VIRTIO_NEXT chains it to index + 1. */
void virtio_describe(struct virtio *v, unsigned int index, volatile void *data, uint32_t len_bytes,
		     uint16_t flags);
/* Gives the device the request that starts with descriptor head. */
void virtio_submit(struct virtio *v, unsigned int head);

bool virtio_has_used(const struct virtio *v);
/* Takes back a request that the device is done with; false when there is none. */
bool virtio_take_used(struct virtio *v, unsigned int *ret_head);

/* Acknowledges the device's interrupt; false when it had none. */
bool virtio_ack(const struct virtio *v);

#endif
