/* SPDX-License-Identifier: Apache-2.0 */
/* A split virtqueue, the device's side. */
#include "vmm/virtqueue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "vmm/machine.h"
#include "vmm/util.h"

/* The three parts in this process; NULL where the guest pointed outside its memory. */
struct rings {
	const struct vring_desc *desc;
	const struct vring_avail *avail;
	struct vring_used *used;
};

static bool map_rings(const struct virtqueue *q, const struct machine *m, struct rings *r)
{
	if (!virtqueue_is_sane(q) || q->desc % 16 || q->driver % 2 || q->device % 4)
		return false;
	r->desc = ram_at(&m->ram, q->desc, q->len * sizeof(struct vring_desc));
	r->avail = ram_at(&m->ram, q->driver, sizeof(struct vring_avail) + q->len * 2);
	r->used = ram_at(&m->ram, q->device,
			 sizeof(struct vring_used) + q->len * sizeof(struct vring_used_elem));
	return r->desc && r->avail && r->used;
}

/* A guest may write its descriptors while we look: each is copied once, then checked. */
static int add_desc(const struct vring_desc *d, struct machine *m, struct virtq_chain *c)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	void *host = ram_at(&m->ram, d->addr, d->len);
	if (!host || (c->n_in && !in) || d->flags & VRING_DESC_F_INDIRECT)
		return -EINVAL;
	c->iov[c->n_out + c->n_in] = (struct iovec){ .iov_base = host, .iov_len = d->len };
	if (in)
		c->n_in++;
	else
		c->n_out++;
	return 0;
}

static int gather(const struct virtqueue *q, struct machine *m, const struct rings *r,
		  struct virtq_chain *c)
{
	uint16_t index = c->head;
	for (uint32_t n = 0; n < q->len; n++) {
		if (index >= q->len)
			return -EINVAL;
		struct vring_desc d;
		memcpy(&d, &r->desc[index], sizeof(d));
		int error = add_desc(&d, m, c);
		if (error < 0)
			return error;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 1;
		index = d.next;
	}
	return -EINVAL; /* a loop */
}

int virtqueue_pop(struct virtqueue *q, struct machine *m, struct virtq_chain *ret)
{
	struct rings r;
	if (!map_rings(q, m, &r))
		return -EINVAL;
	uint16_t idx = __atomic_load_n(&r.avail->idx, __ATOMIC_ACQUIRE);
	uint16_t waiting = (uint16_t)(idx - q->next_avail);
	if (waiting == 0)
		return 0;
	if (waiting > q->len)
		return -EINVAL;
	ret->head = r.avail->ring[q->next_avail % q->len];
	ret->n_out = ret->n_in = 0;
	q->next_avail = (uint16_t)(q->next_avail + 1);
	return gather(q, m, &r, ret);
}

bool virtqueue_push(struct virtqueue *q, struct machine *m, const struct virtq_chain *chain,
		    uint32_t written)
{
	struct rings r;
	for (unsigned int i = chain->n_out; i < chain->n_out + chain->n_in; i++)
		machine_wrote(m, chain->iov[i].iov_base, chain->iov[i].iov_len);
	if (!map_rings(q, m, &r))
		return false;
	struct vring_used_elem *elem = &r.used->ring[q->next_used % q->len];
	*elem = (struct vring_used_elem){ .id = chain->head, .len = written };
	q->next_used = (uint16_t)(q->next_used + 1);
	/* idx before flags, as the driver's flags before idx: one order of both for all. */
	__atomic_store_n(&r.used->idx, (uint16_t)q->next_used, __ATOMIC_SEQ_CST);
	machine_wrote(m, elem, sizeof(*elem));
	machine_wrote(m, r.used, offsetof(struct vring_used, ring));
	return !(__atomic_load_n(&r.avail->flags, __ATOMIC_SEQ_CST) & VRING_AVAIL_F_NO_INTERRUPT);
}

bool virtqueue_is_sane(const struct virtqueue *q)
{
	return q->len > 0 && q->len <= VIRTQUEUE_LEN_MAX && (q->len & (q->len - 1)) == 0 &&
	       q->next_avail <= UINT16_MAX && q->next_used <= UINT16_MAX;
}

/* Take at most LEN bytes off the front of IOV; *ret_len: as many. They stay where they are. */
static uint8_t *take_front(struct iovec *iov, size_t len, size_t *ret_len)
{
	uint8_t *front = iov->iov_base;
	*ret_len = MIN(iov->iov_len, len);
	iov->iov_base = front + *ret_len;
	iov->iov_len -= *ret_len;
	return front;
}

size_t iov_read_front(struct iovec *iov, unsigned int n, void *data, size_t len)
{
	size_t done = 0, part;
	for (unsigned int i = 0; i < n && done < len; i++, done += part) {
		const uint8_t *from = take_front(&iov[i], len - done, &part);
		if (part)
			memcpy((uint8_t *)data + done, from, part);
	}
	return done;
}

size_t iov_write_front(struct iovec *iov, unsigned int n, const void *data, size_t len)
{
	size_t done = 0, part;
	for (unsigned int i = 0; i < n && done < len; i++, done += part) {
		uint8_t *to = take_front(&iov[i], len - done, &part);
		if (part)
			memcpy(to, (const uint8_t *)data + done, part);
	}
	return done;
}

size_t iov_len(const struct iovec *iov, unsigned int n)
{
	size_t len = 0;
	for (unsigned int i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}
