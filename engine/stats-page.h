/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statistics of one migration, in a memfd that the daemon makes and the worker writes: a page of numbers, and a table
 * of multifd's channels. The daemon reads it for query-migrate at any time, also after the worker died. Every value is one atomic
 * 64-bit number with relaxed order: exact each, not a snapshot of all. The reader trusts none of them to make
 * sense together (the worker may be compromised): they are shown, never computed with as lengths.
 */
#ifndef MIGD_ENGINE_STATS_PAGE_H
#define MIGD_ENGINE_STATS_PAGE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_MAGIC 0x5344474dU	/* "MGDS" */
/* Members are only ever appended: a page of a former version has zeros there, and a former version does not look. */
#define STATS_VERSION 2
#define STATS_PAGE_LEN (5U * 4096U)

/* S(member): units in the name, else as QMP.md 2.2 and 9 say. *_ns without "took" are CLOCK_MONOTONIC. */
#define STATS_MEMBERS(S)                                                                    \
	S(start_ns)		/* the daemon writes it, at `migrate` */                    \
	S(end_ns)		/* completed, failed or cancelled; 0 before */              \
	S(setup_took_ms)                                                                    \
	S(downtime_ms)		/* of the guest, as measured: pause request to running again */ \
	S(expected_downtime_ms)                                                             \
	S(transferred_bytes)	/* written to the stream */                                 \
	S(beside_bytes)		/* of these, what went beside the stream: engine/ram-sink.h */ \
	S(multifd_bytes)	/* of these, by multifd's channels, hellos included */      \
	S(zero_copy_missed)	/* rounds of a channel in which all was copied, though zero-copy-send is on */ \
	S(main_thread_id)	/* source: the migration thread's; 0: it ended */           \
	S(received_bytes)	/* incoming: read from the stream */                        \
	S(total_bytes)                                                                      \
	S(remaining_bytes)                                                                  \
	S(duplicate_pages)	/* sent as zero */                                          \
	S(normal_pages)                                                                     \
	S(hole_pages)		/* never touched: neither read nor sent */                  \
	S(hinted_pages)		/* free by the guest's own word: not sent */                \
	S(page_size_bytes)                                                                  \
	S(dirty_pages_rate)	/* pages/s */                                               \
	S(dirty_sync_count)                                                                 \
	S(bandwidth_bps)	/* bytes/s in the last window */                            \
	S(pages_per_second)                                                                 \
	S(precopy_bytes)                                                                    \
	S(downtime_bytes)                                                                   \
	/* Of xbzrle; a cache of 0: it is off. */                                           \
	S(xbzrle_cache_bytes)                                                               \
	S(xbzrle_bytes)		/* code, without the records' heads */                      \
	S(xbzrle_pages)		/* tried: they were in the cache */                         \
	S(xbzrle_overflow)	/* of these, sent in full */                                \
	S(xbzrle_misses)                                                                    \
	S(xbzrle_miss_ppm)	/* of the pages looked up in the last pass */               \
	S(xbzrle_encoding_milli)	/* thousandths: full size over encoded size, last pass */ \
	S(throttle_percent)                                                                 \
	S(dirty_limit_active)	/* 1: the capability dirty-limit limits the vCPUs */        \
	S(dirty_limit_throttle_us)                                                          \
	S(dirty_limit_ring_full_us)                                                         \
	/* The blackout, piece by piece, in the order they happen; microseconds. */         \
	S(blackout_pause_us)                                                                \
	S(blackout_save_us)                                                                 \
	S(blackout_sync_us)                                                                 \
	S(blackout_ram_us)                                                                  \
	S(blackout_transfer_us)                                                             \
	S(blackout_load_us)                                                                 \
	S(blackout_commit_us)                                                               \
	S(blackout_resume_us)                                                               \
	S(snapshot_pages)	/* write-protected at the instant of a background snapshot */ \
	S(snapshot_faults)	/* writes to them, which waited for a copy */                  \
	S(snapshot_faults_us)	/* from when they were seen until it was copied */          \
	S(limited_us)		/* spent waiting for a bandwidth limit, all threads */      \
	/* Post-copy. */                                                                    \
	S(postcopied)		/* 1: the guest runs, or ran, on the target before all of its memory was there */ \
	/* Source: */                                                                       \
	S(postcopy_bytes)	/* of memory, sent while the guest runs on the target */    \
	S(postcopy_requests)	/* of the target's */                                       \
	S(requested_pages)	/* sent because of them */                                  \
	S(prefetched_pages)	/* sent because what is next to them was asked for */       \
	S(background_pages)	/* sent because it was their turn */                        \
	S(recoveries)		/* lost connections that were replaced; both sides */       \
	/* Target: */                                                                       \
	S(faults)		/* for which a page had to come */                          \
	S(fault_min_ns)		/* from the fault until its page was in place */            \
	S(fault_max_ns)                                                                     \
	S(fault_sum_ns)                                                                     \
	S(faults_outside)	/* of threads that are no vCPU */                           \
	S(fault_outside_sum_ns)                                                             \
	S(blocktime_ms)		/* all vCPUs waited at once */                              \
	S(missing_pages)	/* still to come */                                         \
	/* What a former version did not have: 0 is what nobody wrote. */                   \
	S(blackout_start_ns)	/* source: the request to pause; target: the first it heard of it */ \
	S(blackout_hold_us)	/* source: paused, it waited for migrate-continue: between pause and save */ \
	S(downtime_us)		/* downtime_ms, not rounded */                              \
	S(last_pass_end_ns)	/* source: no further pass is to follow, and the last one is over; 0: not so */ \
	S(last_pass_end_bytes)	/* of the stream by then */

/* Of one channel of multifd; those that a migration does not have are all 0. */
struct stats_channel {
	_Atomic uint64_t thread_id;	/* of the thread that sends; 0: there is none (any more) */
	_Atomic uint64_t bytes;		/* written */
	_Atomic uint64_t bandwidth_bps;	/* bytes/s in the last window */
	_Atomic uint64_t failed;	/* 1: it did, and so did the migration */
};

#define STATS_CHANNELS_MAX 255U

/*
 * How long faults took. Counts by latency: for each power of two of nanoseconds four equal parts, number 4 * e + p for latencies
 * in [2^e + p * 2^(e-2), 2^e + (p + 1) * 2^(e-2)), e up to 39 (18 minutes), whatever is longer in the last one.
 */
#define STATS_FAULT_BUCKETS 160U

/* Of one vCPU in post-copy, by index; those beyond are not counted. */
#define STATS_VCPUS_MAX 128U
struct stats_vcpu {
	_Atomic uint64_t blocktime_ms;	/* it waited for pages */
	_Atomic uint64_t faults;
	_Atomic uint64_t fault_sum_ns;
	_Atomic uint64_t exists;	/* 1: there is such a vCPU */
};

struct stats_page {
	union {
		struct {
			uint32_t magic;
			uint32_t version;
#define STATS_MEMBER(m) _Atomic uint64_t m;
			STATS_MEMBERS(STATS_MEMBER)
#undef STATS_MEMBER
		};
		uint8_t first_page[4096];
	};
	struct stats_channel channels[STATS_CHANNELS_MAX];
	_Atomic uint64_t fault_buckets[STATS_FAULT_BUCKETS];
	struct stats_vcpu vcpus[STATS_VCPUS_MAX];
};
_Static_assert(offsetof(struct stats_page, channels) == 4096, "the statistics fit their page");
_Static_assert(sizeof(struct stats_page) <= STATS_PAGE_LEN, "the channels and vCPUs fit behind it");

#define stats_set(page, member, v) \
	atomic_store_explicit(&(page)->member, (uint64_t)(v), memory_order_relaxed)
#define stats_add(page, member, v) \
	((void)atomic_fetch_add_explicit(&(page)->member, (uint64_t)(v), memory_order_relaxed))
#define stats_channel_set(page, id, member, v) \
	atomic_store_explicit(&(page)->channels[id].member, (uint64_t)(v), memory_order_relaxed)
#define stats_channel_add(page, id, member, v) \
	((void)atomic_fetch_add_explicit(&(page)->channels[id].member, (uint64_t)(v), memory_order_relaxed))
#define stats_channel_get(page, id, member) \
	atomic_load_explicit(&(page)->channels[id].member, memory_order_relaxed)
#define stats_get(page, member) atomic_load_explicit(&(page)->member, memory_order_relaxed)

/* Daemon: a new page and its memfd. Worker: map the memfd that came with START. 0 or -errno. */
int stats_page_create(struct stats_page **ret, int *ret_fd);
int stats_page_open(int fd, struct stats_page **ret);
void stats_page_unmap(struct stats_page *page);

#endif
