/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dirty tracking: the shared maps, one per RAM block, and what fills them.
 *
 * From DIRTY_START on, every page is marked once; then KVM's log (bitmap or rings) is ORed in at
 * each DIRTY_SYNC, rings also whenever one is full, and migd_guest_mark_dirty() adds what the VMM
 * wrote. KVM's log is per slot, the maps are per block: a slot may begin anywhere in its block, and
 * several slots may show the same pages.
 *
 * Started, synced, cleared and stopped on the service thread. The maps are written by any thread
 * (mark, rings): such a writer announces itself in `writers` and then looks at `tracking`; stopping
 * clears `tracking` and waits for `writers` to drain before it unmaps.
 */
#ifndef MIGD_GUEST_DIRTY_H
#define MIGD_GUEST_DIRTY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attach/codec.h"
#include "attach/dirty-map.h"
#include "base/err.h"
#include "guest/tables.h"

struct gate;
struct migd_guest_vcpu;

/* How KVM logs; the numbers are DIRTY_START's. */
enum dirty_engine {
	DIRTY_BITMAP = 1,
	DIRTY_RING = 2,
};

/*
 * Who needs KVM's log: it is on as long as somebody does. What a ring's entries count for everybody;
 * the bits of the log can be one's only.
 */
enum dirty_user {
	DIRTY_USER_MIGRATION = 1 << 0,
	DIRTY_USER_RATE = 1 << 1,  /* a measurement: guest/dirty-rate.h */
	DIRTY_USER_LIMIT = 1 << 2, /* guest/dirty-limit.h; rings only */
};

/* One vCPU's ring, mapped from its descriptor. Under the lock, but for the first two and `limit_bps`. */
struct dirty_ring {
	struct kvm_dirty_gfn *entries;
	uint32_t n_entries; /* a power of two */
	pthread_mutex_t lock;
	uint32_t next;      /* what is harvested next */
	uint64_t harvested; /* entries so far */
	uint64_t limit_bps; /* atomic: what the vCPU may dirty, bytes a second; 0: no limit */
	uint64_t last_ns;   /* when it was harvested last */
	uint64_t paid_ns;   /* until when the vCPU has used up its limit */
};

struct dirty {
	const struct guest_tables *tables;
	enum dirty_engine engine;
	unsigned int users;   /* enum dirty_user. Service thread */
	bool manual_protect;  /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is on */
	bool tracking;        /* atomic: the maps are there */
	unsigned int writers; /* atomic: threads that may be using the maps */
	struct dirty_map maps[ATTACH_RAM_BLOCKS_MAX];
	uint64_t *scratch; /* one slot's KVM bitmap, the largest */
};

/*
 * Choose the engine and switch KVM's options on. When KVM is set, before there is a slot with
 * logging.
 */
int dirty_init(struct dirty *d, const struct guest_tables *t, struct merr *err);

static inline bool dirty_is_tracking(const struct dirty *d)
{
	return __atomic_load_n(&d->tracking, __ATOMIC_RELAXED);
}

/* Switch KVM's log on for USER, if it is not. Nothing is left behind on failure. Service thread. */
int dirty_log_get(struct dirty *d, struct gate *gate, enum dirty_user user, struct merr *err);
/* USER needs it no more; it may never have. */
void dirty_log_put(struct dirty *d, struct gate *gate, enum dirty_user user);
/* Whether slot S is logged at all. */
bool dirty_slot_is_logged(const struct dirty *d, const struct ram_slot *s);

/*
 * Make the maps, all pages dirty, and start KVM's log. RET_FDS: a descriptor per block, the
 * caller's. Nothing is left behind on failure.
 */
int dirty_start(struct dirty *d, struct gate *gate, int ret_fds[ATTACH_RAM_BLOCKS_MAX],
		struct merr *err);

/* OR what KVM logged into the maps. */
int dirty_sync(struct dirty *d, struct gate *gate, struct merr *err);

/*
 * Drop exactly the pages of REQ from KVM's log and re-protect them (bitmap with manual protection;
 * else nothing to do).
 */
int dirty_clear(struct dirty *d, const struct attach_dirty_clear *req, struct merr *err);

/* Stop KVM's log, free the maps. Nothing happens when it does not track. */
void dirty_stop(struct dirty *d, struct gate *gate);

/* Any thread, signal handlers too. */
void dirty_mark_gpa(struct dirty *d, uint64_t gpa, uint64_t len);
void dirty_mark_host(struct dirty *d, const void *host, uint64_t len);
void dirty_mark_all(struct dirty *d);

/* Between the two, and only if the first says true, the maps may be written. */
bool dirty_write_begin(struct dirty *d);
void dirty_write_end(struct dirty *d);

/* Rings. */
int dirty_ring_new(int vcpu_fd, uint32_t n_entries, struct dirty_ring **ret, struct merr *err);
struct dirty_ring *dirty_ring_free(struct dirty_ring *r);
/*
 * Move the entries into the maps (if tracking) and let KVM re-use them; how many there were, or
 * -errno. The vCPU's own thread (its ring is full), or the service thread (all rings).
 */
int dirty_ring_harvest(struct dirty *d, struct dirty_ring *r);
int dirty_rings_harvest(struct dirty *d, struct gate *gate, struct merr *err);
/* Entries of R so far. Any thread. */
uint64_t dirty_ring_harvested(struct dirty_ring *r);
/* Until when its vCPU has used up its limit; and let it start anew. Any thread. */
uint64_t dirty_ring_paid_ns(struct dirty_ring *r);
void dirty_ring_forgive(struct dirty_ring *r);

#endif
