/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's dirty rings: one per vCPU, (slot, offset) entries that KVM fills and we harvest in order.
 *
 * An entry goes 00 (free) > DIRTY (by KVM) > RESET (by us, harvested) > 00 (by
 * KVM_RESET_DIRTY_RINGS, which re-protects the page). The page is read only after that: the worker
 * reads after DIRTY_SYNC's reply. Source: the kernel's Documentation/virt/kvm/api.rst,
 * KVM_CAP_DIRTY_LOG_RING.
 */
#include <errno.h>
#include <limits.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "guest/dirty-limit.h"
#include "guest/dirty.h"
#include "guest/gate.h"

int dirty_ring_new(int vcpu_fd, uint32_t n_entries, struct dirty_ring **ret, struct merr *err)
{
	size_t len = (size_t)n_entries * sizeof(struct kvm_dirty_gfn);
	struct dirty_ring *r = calloc(1, sizeof(*r));
	void *p;

	if (!r)
		return merr_set(err, -ENOMEM, "no memory for a dirty ring");
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd,
		 KVM_DIRTY_LOG_PAGE_OFFSET * sysconf(_SC_PAGESIZE));
	if (p == MAP_FAILED) {
		int code = -errno;

		free(r);
		return merr_set_errno(err, code, "cannot map the vCPU's dirty ring of %u entries",
				      n_entries);
	}
	r->entries = p;
	r->n_entries = n_entries;
	(void)pthread_mutex_init(&r->lock, NULL);
	*ret = r;
	return 0;
}

struct dirty_ring *dirty_ring_free(struct dirty_ring *r)
{
	if (!r)
		return NULL;
	(void)munmap(r->entries, (size_t)r->n_entries * sizeof(struct kvm_dirty_gfn));
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
	return NULL;
}

/*
 * Slots of another address space (SMM) have the space's number in the upper half: same pages, other
 * numbers.
 */
static const struct ram_slot *find_slot(const struct guest_tables *t, uint32_t slot)
{
	for (size_t i = 0; i < t->n_slots; i++)
		if (t->slots[i].slot == (slot & 0xffff))
			return &t->slots[i];
	return NULL;
}

static void mark_entry(struct dirty *d, uint32_t slot, uint64_t offset)
{
	const struct ram_slot *s = find_slot(d->tables, slot);

	if (s && offset < s->len / DIRTY_PAGE_SIZE)
		bitmap_atomic_or_range(d->maps[s->block].bits, s->offset / DIRTY_PAGE_SIZE + offset,
				       1);
}

/* N entries more: until when has the vCPU used up what it may dirty? Locked. */
static void charge(struct dirty_ring *r, uint64_t n)
{
	uint64_t limit_bps = __atomic_load_n(&r->limit_bps, __ATOMIC_RELAXED), now = clock_now_ns();

	if (limit_bps)
		r->paid_ns = dirty_limit_charge(r->paid_ns, r->last_ns, now, n, limit_bps);
	r->last_ns = now;
}

uint64_t dirty_ring_harvested(struct dirty_ring *r)
{
	LOCK_SCOPE(&r->lock);

	return r->harvested;
}

uint64_t dirty_ring_paid_ns(struct dirty_ring *r)
{
	LOCK_SCOPE(&r->lock);

	return r->paid_ns;
}

void dirty_ring_forgive(struct dirty_ring *r)
{
	LOCK_SCOPE(&r->lock);

	r->paid_ns = 0;
	r->last_ns = clock_now_ns();
}

/* Take what is in the ring, at most once round. */
static int collect(struct dirty *d, struct dirty_ring *r, bool mark)
{
	LOCK_SCOPE(&r->lock);
	struct kvm_dirty_gfn *e;
	uint32_t n = 0;

	for (; n < r->n_entries; n++) {
		e = &r->entries[r->next & (r->n_entries - 1)];
		if ((__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_MASK) !=
		    KVM_DIRTY_GFN_F_DIRTY)
			break;
		if (mark)
			mark_entry(d, e->slot, e->offset);
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		r->next++;
	}
	r->harvested += n;
	charge(r, n);
	return n > INT_MAX ? INT_MAX : (int)n;
}

static int reset_rings(const struct dirty *d)
{
	return ioctl(d->tables->kvm.vm_fd, KVM_RESET_DIRTY_RINGS, 0) < 0 ? -errno : 0;
}

int dirty_ring_harvest(struct dirty *d, struct dirty_ring *ring)
{
	bool mark = dirty_write_begin(d);
	int n = collect(d, ring, mark), r = 0;

	if (mark)
		dirty_write_end(d);
	if (n > 0)
		r = reset_rings(d);
	return r < 0 ? r : n;
}

int dirty_rings_harvest(struct dirty *d, struct gate *gate, struct merr *err)
{
	int r;

	for (size_t i = 0; i < gate->n_vcpus; i++) {
		if (!gate->vcpus[i]->ring)
			continue;
		r = dirty_ring_harvest(d, gate->vcpus[i]->ring);
		if (r < 0)
			return merr_set_errno(err, r, "KVM_RESET_DIRTY_RINGS");
	}
	return 0;
}
