/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue (virtio 1.2, section 2.7), the device's side. Everything in the rings is the guest's and checked.
 */
#ifndef MIGD_VMM_VIRTQUEUE_H
#define MIGD_VMM_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct machine;

#define VIRTQUEUE_LEN_MAX 128

struct virtqueue {
	uint64_t desc, driver, device;	/* guest-physical: descriptors, available ring, used ring */
	uint32_t len;			/* entries, a power of two */
	uint32_t ready;
	uint32_t next_avail;		/* ring index of the next request, modulo 2^16 */
	uint32_t next_used;
};

/* One request: buffers to read from, then buffers to write to. */
struct virtq_chain {
	uint16_t head;
	unsigned int n_out, n_in;
	struct iovec iov[VIRTQUEUE_LEN_MAX];	/* n_out, then n_in */
};

/* 1: a request; 0: none is waiting; -EINVAL: the rings are broken. */
int virtqueue_pop(struct virtqueue *q, struct machine *m, struct virtq_chain *ret);

/* Give CHAIN back, with WRITTEN bytes in its buffers. Marks buffers and ring dirty. True if the guest wants an interrupt. */
bool virtqueue_push(struct virtqueue *q, struct machine *m, const struct virtq_chain *chain,
		    uint32_t written);

/* Whether a loaded queue can be one. */
bool virtqueue_is_sane(const struct virtqueue *q);

/*
 * Move LEN bytes from the front of N buffers to DATA (or the other way), shortening them. Returns how many were there.
 */
size_t iov_read_front(struct iovec *iov, unsigned int n, void *data, size_t len);
size_t iov_write_front(struct iovec *iov, unsigned int n, const void *data, size_t len);
size_t iov_len(const struct iovec *iov, unsigned int n);

#endif
