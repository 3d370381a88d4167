/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much the guest dirties in a second, measured on request, without a migration.
 *
 *   sampling   hashes of random pages of each block are compared with those of some time later
 *   ring       entries of KVM's dirty rings are counted, each vCPU's own
 *   bitmap     KVM's dirty log is cleared, and its bits are counted some time later
 *
 * A measurement prepares, waits and counts. It runs on the service thread, which may hold a pause up
 * for no longer than a slice takes: at most DIRTY_RATE_SLICE_PAGES pages are hashed, or
 * DIRTY_RATE_SLICE_CLEAR re-protected, before the loop goes round. The library does it because
 * it may look at guest memory anyway, and the daemon must not; a process for it would cost more than
 * it saves (512 pages a GiB take 1 ms a GiB). Pages are read by pread() from their memfd: that
 * allocates no hole, as reading through a mapping would.
 *
 * A ring's entries serve several at once, also a migration. The bits of the log are the migration's
 * alone: none is counted while one runs, and one that starts ends the count where it is. The VMM's own
 * writes are seen by sampling only.
 */
#ifndef MIGD_GUEST_DIRTY_RATE_H
#define MIGD_GUEST_DIRTY_RATE_H

#include <stdint.h>

#include "attach/proto.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

/* About 100 us. */
#define DIRTY_RATE_SLICE_PAGES 64U
#define DIRTY_RATE_SLICE_CLEAR 65536U
/* Of a huge guest with many samples a GiB; 24 MiB. */
#define DIRTY_RATE_SAMPLES_MAX (1U << 20)
/* A small block has so many samples, or pages: less says nothing. */
#define DIRTY_RATE_SAMPLES_MIN 512U

struct migd_guest;
struct dirty_sample;

enum dirty_rate_phase {
	DIRTY_RATE_IDLE = 0,
	DIRTY_RATE_PREPARE,
	DIRTY_RATE_WAIT,
	DIRTY_RATE_COUNT,
};

struct dirty_rate {
	enum dirty_rate_phase phase;
	enum attach_dirty_rate_status status; /* 0: never started */
	struct attach_dirty_rate req;
	uint64_t start_time_s;
	uint64_t began_ns, until_ns, ended_ns;
	uint64_t at; /* where prepare or count goes on: a sample, or a page of slot `slot` */
	size_t slot;
	uint64_t rate_mib;

	struct dirty_sample *samples;
	uint64_t n_samples;
	uint32_t taken[ATTACH_RAM_BLOCKS_MAX], changed[ATTACH_RAM_BLOCKS_MAX];

	uint64_t *bits;  /* one slot's log, or ones */
	uint64_t *vcpus; /* by index: entries at the start, then MiB/s */
};

/* PAGES in SPAN_NS, in MiB/s. */
static inline uint64_t dirty_rate_mib(uint64_t pages, uint64_t span_ns)
{
	return span_ns ? (uint64_t)((double)pages * 4096 / MIB * (double)NS_PER_SEC / (double)span_ns)
		       : 0;
}

/* How many samples a block of N_PAGES gets. */
uint64_t dirty_rate_samples_of(uint64_t n_pages, uint32_t per_gib);
/* Differs with any change, for all that matters; LEN is a multiple of 32. */
uint64_t dirty_rate_hash(const void *p, size_t len);

/* 0; -EBUSY (one runs), -EINVAL, -EOPNOTSUPP, -ENOMEM, ... */
int dirty_rate_start(struct migd_guest *g, const struct attach_dirty_rate *req, struct merr *err);
/* A migration is about to take KVM's log: end a count of its bits. */
void dirty_rate_yield(struct migd_guest *g);
void dirty_rate_free(struct migd_guest *g);
void dirty_rate_tick(struct migd_guest *g, uint64_t now_ns);
uint64_t dirty_rate_deadline(const struct migd_guest *g);

/*
 * The modes: a step of preparing or counting. 1: done; 0: there is more; or -errno. Counting leaves
 * the dirtied pages in *ret_pages.
 */
int dirty_sample_prepare(struct migd_guest *g, struct merr *err);
int dirty_sample_count(struct migd_guest *g, uint64_t *ret_pages, struct merr *err);
int dirty_bitmap_prepare(struct migd_guest *g, struct merr *err);
int dirty_bitmap_count(struct migd_guest *g, uint64_t *ret_pages, struct merr *err);
int dirty_rings_prepare(struct migd_guest *g, struct merr *err);
int dirty_rings_count(struct migd_guest *g, uint64_t *ret_pages, struct merr *err);

#endif
