/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attach protocol: what libmigd-guest and migd say to each other. docs/attach-protocol.md has it as prose.
 *
 * Two kinds of connection, both AF_UNIX SOCK_SEQPACKET, framed by attach/conn.h:
 *
 *   control     VMM <-> daemon, for as long as both live. The VMM says HELLO first.
 *   migration   library <-> worker, for one migration: a socketpair end that the daemon hands to the
 *               library with MIG_OPEN. Its end (EOF) is what drives the library's rollback.
 *
 * Everything is little-endian. A message is a header and a body; the body's fields follow each other
 * without padding, in the order of the tables below. Every request gets exactly one reply of the same type,
 * with reply_to = the request's seq; a reply with error != 0 has a text (UTF-8, no NUL) for a body.
 * Replies may come late and out of order. Events are messages that want no reply.
 */
#ifndef MIGD_ATTACH_PROTO_H
#define MIGD_ATTACH_PROTO_H

#include <stdint.h>

#define ATTACH_MAGIC 0x4147494dU	/* "MIGA" */
#define ATTACH_VERSION 1
/* One datagram; a longer one cannot be sent whole over every kernel's default buffers. */
#define ATTACH_MESSAGE_MAX 65536U
#define ATTACH_HEADER_LEN 32U
#define ATTACH_BODY_MAX (ATTACH_MESSAGE_MAX - ATTACH_HEADER_LEN)
/* Descriptors with one message; well below the kernel's SCM_MAX_FD (253). */
#define ATTACH_FDS_MAX 64U
#define ATTACH_STR_MAX 127U	/* bytes of a `str`, without NUL */
#define ATTACH_ID_LEN 16U	/* migration and handover ids, uuids */
#define ATTACH_RAM_BLOCKS_MAX 64U
#define ATTACH_CLEAR_PAGES_MAX 65536U	/* pages of one DIRTY_CLEAR: 256 MiB, 8 KiB of bits */
#define ATTACH_INTERFACES_MAX 64U	/* names in one ANNOUNCE */
#define ATTACH_LIVE_DEVICES_MAX 32U
#define ATTACH_LIVE_CHUNK_MAX 262144U	/* the area that live devices' chunks cross in */
#define ATTACH_CONFIG_MAX 60000U	/* a guest description (CONFIG_GET) */
#define ATTACH_MISMATCHES_MAX 32U	/* of one CONFIG_CHECK; more are only counted */
#define ATTACH_FEED_MAX 60000U	/* bytes of one STATE_FEED */
#define ATTACH_MEMO_MAX 4096U

/* error of the header: names, not the platform's numbers. attach_error_to_errno() and back. */
enum attach_error {
	ATTACH_OK = 0,
	ATTACH_ERR_NOT_SUPPORTED = 1,
	ATTACH_ERR_BAD_STATE = 2,
	ATTACH_ERR_BUSY = 3,
	ATTACH_ERR_TIMEOUT = 4,
	ATTACH_ERR_INCOMPATIBLE = 5,
	ATTACH_ERR_IO = 6,
	ATTACH_ERR_PEER_LOST = 7,
	ATTACH_ERR_BAD_MESSAGE = 8,
	ATTACH_ERR_PERMISSION = 9,
	ATTACH_ERR_NO_MEMORY = 10,
	ATTACH_ERR_GUEST_GONE = 11,
	ATTACH_ERR_STALE_EPOCH = 12,
	ATTACH_ERR_IN_DOUBT = 13,
	ATTACH_ERR_EXISTS = 14,
	ATTACH_ERR_CANCELLED = 15,
};

/*
 * Fields: F(kind, member). u8 u16 u32 u64: C integers. id: uint8_t[16]. str: u16 length and at most 127 bytes,
 * char[128] with NUL in memory. blob: u32 length and bytes, up to the end of the body; struct
 * attach_blob in memory, which borrows the message's buffer when decoded.
 */
#define ATTACH_HELLO_FIELDS(F)                                                              \
	F(u16, proto_min)                                                                   \
	F(u16, proto_max)                                                                   \
	F(u64, features)                                                                    \
	F(id, uuid)                                                                         \
	F(str, name)                                                                        \
	F(str, arch)	/* "x86_64" */                                                      \
	F(u8, role)	/* enum migd_guest_role: 1 running, 2 incoming */                   \
	F(u8, run_state)	/* enum migd_guest_run_state */                             \
	F(u8, handover_state)	/* enum handover_state */                                   \
	F(id, handover_id)                                                                  \
	F(u32, page_size)                                                                   \
	F(u32, n_vcpus)                                                                     \
	F(u64, ram_bytes)                                                                   \
	F(u32, prev_epoch)	/* 0: first attachment */                                   \
	F(u32, pid)
#define ATTACH_HELLO_REPLY_FIELDS(F) F(u16, version) F(u64, features) F(u32, epoch) F(u32, lease_ms)

#define ATTACH_EMPTY_FIELDS(F)
/* reason: 1 operator, 2 migration. */
#define ATTACH_PAUSE_FIELDS(F) F(u32, deadline_ms)
#define ATTACH_QUERY_REPLY_FIELDS(F) \
	F(u8, role) F(u8, run_state) F(u8, handover_state) F(id, handover_id)
#define ATTACH_MIG_OPEN_FIELDS(F) F(id, migration_id) F(u8, role) /* 1 source, 2 target */
#define ATTACH_RESOLVE_FIELDS(F) F(id, handover_id) F(u8, run) /* 1: run here, 0: discard here */
/* `interfaces`: n times an INTERFACE; none: all there are. */
#define ATTACH_ANNOUNCE_FIELDS(F) F(u32, n) F(blob, interfaces)
#define ATTACH_INTERFACE_FIELDS(F) F(str, name)
#define ATTACH_EVENT_FIELDS(F)                                                              \
	F(u16, kind)	/* enum attach_event */                                             \
	F(u8, run_state)	/* after the event */                                       \
	F(u8, handover_state)                                                               \
	F(id, handover_id)                                                                  \
	F(u64, value)	/* by kind: vCPU index, microseconds */                             \
	F(str, text)

#define ATTACH_RAM_TABLE_FIELDS(F) F(u32, first)
/* n times a RAM_BLOCK follow in `blocks`; descriptor k belongs to block first + k. */
#define ATTACH_RAM_TABLE_REPLY_FIELDS(F) F(u32, total) F(u32, n) F(blob, blocks)
#define ATTACH_RAM_BLOCK_FIELDS(F)                                                          \
	F(str, name)                                                                        \
	F(u64, len)                                                                         \
	F(u64, fd_offset)                                                                   \
	F(u64, host_base)	/* address in the VMM, for userfaultfd */                   \
	F(u64, gpa)	/* of the block's first slot */                                     \
	F(u64, page_size)	/* of its memory: 4096, or a huge page's */                 \
	F(u32, flags)	/* enum attach_ram_flag */
#define ATTACH_CONFIG_FIELDS(F) F(blob, config)
/*
 * How the guest that is described differs from the one here: found of them, n of which follow in `list` as MISMATCHes. What
 * differs, how it is at the source, how it is here, what to do about it; printable ASCII.
 */
#define ATTACH_MISMATCHES_FIELDS(F) F(u32, found) F(u32, n) F(blob, list)
#define ATTACH_MISMATCH_FIELDS(F) F(str, subject) F(str, source) F(str, target) F(str, advice)
#define ATTACH_HANDOVER_FIELDS(F) F(id, handover_id)
#define ATTACH_HANDOVER_LOADED_FIELDS(F)                                                    \
	F(id, handover_id)                                                                  \
	F(u8, paused)	/* 1: activate, but do not run: the source was paused */
#define ATTACH_HANDOVER_REPLY_FIELDS(F) F(u8, handover_state) F(u64, took_us)
/* engine: 0 the best there is, 1 KVM bitmap, 2 KVM dirty ring. */
#define ATTACH_DIRTY_START_FIELDS(F) F(u8, engine)
#define ATTACH_DIRTY_START_REPLY_FIELDS(F) F(u8, engine)
#define ATTACH_DIRTY_SYNC_REPLY_FIELDS(F) F(u64, took_us)
/*
 * The pages about to be sent: bit k of `bits` (64-bit little-endian words) stands for page first_page + k of the block;
 * first_page is a multiple of 64. Exactly these bits are dropped from KVM's log and re-protected: a bit
 * that is not set here may stand for a write that no sync has fetched yet and must survive.
 */
#define ATTACH_DIRTY_CLEAR_FIELDS(F) F(u32, block) F(u64, first_page) F(blob, bits)
#define ATTACH_MIG_PAUSE_FIELDS(F) F(id, handover_id) F(u32, deadline_ms)
#define ATTACH_MIG_PAUSE_REPLY_FIELDS(F)                                                    \
	F(u8, run_state_before)                                                             \
	F(u64, request_ns)	/* CLOCK_MONOTONIC when the kick began */                   \
	F(u64, took_us)
#define ATTACH_STATE_SAVE_FIELDS(F) F(u32, first_section_id)
/* With the memfd that holds `len` bytes: FULL sections with footers, no EOF (WIRE 1.2). */
#define ATTACH_STATE_SAVE_REPLY_FIELDS(F)                                                   \
	F(u64, len)                                                                         \
	F(u32, n_sections)                                                                  \
	F(u64, took_us)                                                                     \
	F(u64, vmdesc_len)	/* JSON of the "devices" array's elements, behind the sections */
/* With a memfd of at least `len` bytes, as STATE_SAVE gave it. Every section must be consumed. */
#define ATTACH_STATE_LOAD_FIELDS(F) F(u64, len)
#define ATTACH_STATE_LOAD_REPLY_FIELDS(F) F(u64, took_us)
/*
 * A piece of a section's body from a stream that is not packaged. first: the piece begins the section that the other
 * fields name. bytes: at most ATTACH_FEED_MAX. The worker has parsed the header, and parses the footer.
 */
#define ATTACH_STATE_FEED_FIELDS(F)                                                         \
	F(u8, first)                                                                        \
	F(str, name)                                                                        \
	F(u32, instance)                                                                    \
	F(u32, version)                                                                     \
	F(u64, offset)	/* of the piece's first byte in the stream: for the texts of errors */ \
	F(blob, bytes)
/*
 * done: the section is complete. consumed: bytes of the piece that were its own. Not done: the next piece begins with the
 * bytes that were not consumed and has at least `needs` bytes, all of which the stream is bound to have.
 */
#define ATTACH_STATE_FEED_REPLY_FIELDS(F) F(u8, done) F(u32, consumed) F(u32, needs)
/* All sections came. ram_only: it is no error if there was none; vCPUs and devices then stay as they are. */
#define ATTACH_STATE_FEED_END_FIELDS(F) F(u8, ram_only)
/* With the area's memfd, of area_len bytes, if n > 0; n times a LIVE_DEVICE. A device's index is its place. */
#define ATTACH_LIVE_TABLE_REPLY_FIELDS(F) F(u32, n) F(u32, area_len) F(blob, devices)
#define ATTACH_LIVE_DEVICE_FIELDS(F) \
	F(str, name) F(u32, instance) F(u32, version) F(u32, minimum_version) F(u8, flags)
#define ATTACH_LIVE_FIELDS(F) F(u32, index)
#define ATTACH_LIVE_PENDING_FIELDS(F) F(u32, index) F(u8, exact)
#define ATTACH_LIVE_PENDING_REPLY_FIELDS(F) F(u64, bytes)
/* complete: 1: the guest is stopped. The reply: so many bytes are in the area; there is more. */
#define ATTACH_LIVE_READ_FIELDS(F) F(u32, index) F(u8, complete)
#define ATTACH_LIVE_READ_REPLY_FIELDS(F) F(u32, len) F(u8, more)
/* part: enum attach_live_part. len: of a CHUNK, which is in the area. */
#define ATTACH_LIVE_LOAD_FIELDS(F) F(u32, index) F(u32, version) F(u8, part) F(u32, len)
#define ATTACH_LIVE_STATE_REPLY_FIELDS(F) F(u8, unplug_pending) F(u8, ready)
#define ATTACH_THROTTLE_FIELDS(F) F(u8, percent)
/*
 * The RAM of a guest that is to move to another VMM on this host (cpr-transfer): `blocks` are n RAM_BLOCKs, descriptor k
 * is block k's. The new VMM takes no other handover than this one.
 */
#define ATTACH_RAM_OFFER_FIELDS(F) F(id, handover_id) F(u32, n) F(blob, blocks)
/* Ranges of damaged pages that the VMM reported: the one with this index, and how many there are. */
#define ATTACH_RAM_POISON_FIELDS(F) F(u32, index)
#define ATTACH_RAM_POISON_REPLY_FIELDS(F) F(u32, total) F(u32, block) F(u64, first_page) F(u64, n_pages)
/* These pages were damaged at the source: the VMM is to make them so here. */
#define ATTACH_RAM_POISON_SET_FIELDS(F) F(u32, block) F(u64, first_page) F(u64, n_pages)

/*
 * Faults of the VMM's own mappings go to the worker. mode: enum attach_uffd_mode. With a descriptor of /dev/userfaultfd, if the
 * worker has one. In post-copy the library keeps a duplicate until UFFD_END: as long as that is open, whoever waits for a page
 * waits, whatever becomes of the worker; a successor asks again, and gets the same one. For a snapshot it keeps none.
 */
#define ATTACH_UFFD_OPEN_FIELDS(F) F(u8, mode)
/* With the userfaultfd. existing: a predecessor had it. n_vcpus times a u32 in `vcpus`: the vCPUs' thread ids, by index. */
#define ATTACH_UFFD_OPEN_REPLY_FIELDS(F)                                                    \
	F(u8, existing)                                                                     \
	F(u64, features)	/* UFFD_FEATURE_* that are on */                            \
	F(u32, n_vcpus)                                                                     \
	F(blob, vcpus)
/* What a worker leaves for a successor: at most ATTACH_MEMO_MAX bytes that only workers understand. Empty: nothing. */
#define ATTACH_MEMO_FIELDS(F) F(blob, memo)

/* argv: the arguments, each ended by NUL. check: only say whether it can be done. */
#define ATTACH_CPR_EXEC_FIELDS(F) F(u8, check) F(blob, argv)
/* In a RAM_BLOCK's flags, beside enum migd_guest_ram_flags: this memory came from the old VMM, which still uses it. */
#define ATTACH_RAM_HANDED (1U << 31)

/* Measure for calc_ms how much the guest dirties. sample_pages: for each GiB, mode 1 only. */
#define ATTACH_DIRTY_RATE_FIELDS(F)                                                         \
	F(u8, mode)	/* enum attach_dirty_rate_mode */                                   \
	F(u32, calc_ms)                                                                     \
	F(u32, sample_pages)
/* vcpu: an index, or ATTACH_ALL_VCPUS. limit_mib: MiB/s, 0: none. period_ms: of its measurements. */
#define ATTACH_DIRTY_LIMIT_FIELDS(F) F(u32, vcpu) F(u64, limit_mib) F(u32, period_ms)
/* The measurement of DIRTY_RATE, and n times a VCPU_DIRTY. */
#define ATTACH_DIRTY_QUERY_REPLY_FIELDS(F)                                                  \
	F(u8, has_ring)	/* 1: KVM's dirty ring, 0: its dirty log */                         \
	F(u8, status)	/* enum attach_dirty_rate_status */                                 \
	F(u8, mode)                                                                         \
	F(u64, start_time_s)	/* of the host's clock; 0: there was none */                \
	F(u32, calc_ms)                                                                     \
	F(u32, sample_pages)                                                                \
	F(u64, rate_mib)	/* MiB/s, of all */                                         \
	F(u32, n)                                                                           \
	F(blob, vcpus)
#define ATTACH_VCPU_DIRTY_FIELDS(F)                                                         \
	F(u64, rate_mib)	/* MiB/s, as DIRTY_RATE measured by the ring */             \
	F(u64, limit_mib)	/* 0: none */                                               \
	F(u64, current_mib)	/* MiB/s, as measured for the limit */
/* throttle_us: the longest sleep of a vCPU for each ring that it fills. ring_full_us: the time that takes; 0: idle. */
#define ATTACH_MIG_DIRTY_LIMIT_REPLY_FIELDS(F) F(u64, throttle_us) F(u64, ring_full_us)

/*
 * M(number, NAME, request fields, reply fields). Numbers are for ever.
 * Control connection: 1..31; migration channel: 32..95; both: 96...
 */
#define ATTACH_MESSAGES(M)                                                                  \
	M(1, HELLO, HELLO, HELLO_REPLY)			/* V->D, + decision page */         \
	M(2, PAUSE, PAUSE, EMPTY)			/* D->V; reply when parked */       \
	M(3, RESUME, EMPTY, EMPTY)			/* D->V */                          \
	M(4, MIG_OPEN, MIG_OPEN, EMPTY)			/* D->V, + channel */               \
	M(5, RESOLVE, RESOLVE, HANDOVER_REPLY)		/* D->V, operator's word */         \
	M(6, REQUEST_RESET, EMPTY, EMPTY)		/* D->V */                          \
	M(7, REQUEST_SHUTDOWN, EMPTY, EMPTY)		/* D->V */                          \
	M(8, DIRTY_RATE, DIRTY_RATE, EMPTY)		/* D->V; the result by DIRTY_QUERY */ \
	M(9, DIRTY_LIMIT, DIRTY_LIMIT, EMPTY)		/* D->V, an operator's */           \
	M(10, DIRTY_QUERY, EMPTY, DIRTY_QUERY_REPLY)	/* D->V */                          \
	M(11, ANNOUNCE, ANNOUNCE, EMPTY)		/* D->V, one round of announce-self */ \
	M(13, CPR_OFFER, HANDOVER, EMPTY)		/* D->V, + connection to the new VMM */ \
	M(17, REQUEST_WAKEUP, EMPTY, EMPTY)		/* D->V */                          \
	M(18, DISCARD, EMPTY, EMPTY)			/* D->V; EMPTY, INCOMING>DISCARDED */ \
	M(32, RAM_TABLE, RAM_TABLE, RAM_TABLE_REPLY)	/* W->V, reply + memfds */          \
	M(33, CONFIG_GET, EMPTY, CONFIG)		/* W->V, source */                  \
	M(34, CONFIG_CHECK, CONFIG, MISMATCHES)		/* W->V, target */                  \
	M(35, HANDOVER_BEGIN, HANDOVER, HANDOVER_REPLY)	/* RUNNING>PRECOPY, EMPTY>INCOMING */ \
	M(36, DIRTY_START, DIRTY_START, DIRTY_START_REPLY) /* reply + one dirty map per block */ \
	M(37, DIRTY_SYNC, EMPTY, DIRTY_SYNC_REPLY)                                          \
	M(38, DIRTY_CLEAR, DIRTY_CLEAR, EMPTY)                                              \
	M(39, DIRTY_STOP, EMPTY, EMPTY)                                                     \
	M(40, MIG_PAUSE, MIG_PAUSE, MIG_PAUSE_REPLY)	/* PRECOPY>PAUSED */                \
	M(41, MIG_ABORT, HANDOVER, HANDOVER_REPLY)	/* >RUNNING, or >DISCARDED */       \
	M(42, STATE_SAVE, STATE_SAVE, STATE_SAVE_REPLY)	/* reply + memfd */                 \
	M(43, STATE_LOAD, STATE_LOAD, STATE_LOAD_REPLY)	/* + memfd */                       \
	M(44, HANDOVER_LOADED, HANDOVER_LOADED, HANDOVER_REPLY) /* INCOMING>LOADED */       \
	M(45, RELEASE, HANDOVER, HANDOVER_REPLY)	/* PAUSED>RELEASED */               \
	M(46, ACTIVATE, HANDOVER, HANDOVER_REPLY)	/* LOADED>RUNNING */                \
	M(47, RETIRE, HANDOVER, HANDOVER_REPLY)		/* RELEASED>RETIRED */              \
	M(48, RECLAIM, HANDOVER, HANDOVER_REPLY)	/* RELEASED>RUNNING: target NOT_ACTIVE */ \
	M(49, THROTTLE, THROTTLE, EMPTY)                                                    \
	M(50, STATE_FEED, STATE_FEED, STATE_FEED_REPLY)	/* a piece of a section, unpackaged */ \
	M(51, STATE_FEED_END, STATE_FEED_END, STATE_LOAD_REPLY)                             \
	M(52, LIVE_TABLE, EMPTY, LIVE_TABLE_REPLY)	/* reply + the area, if there is a device */ \
	M(53, LIVE_SETUP, LIVE, EMPTY)			/* source: it begins */             \
	M(54, LIVE_PENDING, LIVE_PENDING, LIVE_PENDING_REPLY) /* source */                  \
	M(55, LIVE_READ, LIVE_READ, LIVE_READ_REPLY)	/* source: a chunk into the area */ \
	M(56, LIVE_LOAD, LIVE_LOAD, EMPTY)		/* target: a chunk from the area */ \
	M(57, LIVE_STATE, LIVE, LIVE_STATE_REPLY)                                           \
	M(60, MIG_DIRTY_LIMIT, DIRTY_LIMIT, EMPTY)	/* W->V, the migration's */         \
	M(61, MIG_DIRTY_LIMIT_STATS, EMPTY, MIG_DIRTY_LIMIT_REPLY) /* W->V */                \
	M(70, RAM_OFFER, RAM_OFFER, EMPTY)		/* old VMM->new VMM, + memfds; reply: it listens */ \
	M(76, RAM_POISON, RAM_POISON, RAM_POISON_REPLY)	/* W->V, source */                  \
	M(77, RAM_POISON_SET, RAM_POISON_SET, EMPTY)	/* W->V, target */                  \
	M(71, CPR_EXEC, CPR_EXEC, EMPTY)		/* W->V: become another program; a reply: it failed */ \
	M(78, HINT_START, EMPTY, EMPTY)			/* reply + one map of hints per block */ \
	M(80, UFFD_OPEN, UFFD_OPEN, UFFD_OPEN_REPLY)	/* W->V, + /dev/userfaultfd or nothing; reply + userfaultfd */ \
	M(81, RECEIVED_MAPS, EMPTY, EMPTY)		/* W->V, target; reply + one map (dirty-map.h) per block */ \
	M(82, UFFD_END, EMPTY, EMPTY)			/* W->V: nobody waits for pages any more */ \
	M(83, MEMO_SET, MEMO, EMPTY)			/* W->V; kept until the next handover begins */ \
	M(84, MEMO_GET, EMPTY, MEMO)			/* W->V */                          \
	M(96, QUERY, EMPTY, QUERY_REPLY)                                                    \
	M(97, HEARTBEAT, EMPTY, EMPTY)                                                      \
	M(98, EVENT, EVENT, EMPTY)			/* V->D and V->W; no reply */

enum attach_type {
#define ATTACH_TYPE(number, name, req, rep) ATTACH_##name = number,
	ATTACH_MESSAGES(ATTACH_TYPE)
#undef ATTACH_TYPE
};

/* Flags of a RAM_BLOCK: enum migd_guest_ram_flags, by the same numbers. */
enum attach_ram_flag {
	ATTACH_RAM_READONLY = 1 << 0,
	ATTACH_RAM_SHARED = 1 << 1,
};

enum attach_dirty_rate_mode {
	ATTACH_DIRTY_RATE_SAMPLING = 1,	/* sampled pages are compared */
	ATTACH_DIRTY_RATE_RING = 2,	/* entries of KVM's dirty rings are counted */
	ATTACH_DIRTY_RATE_BITMAP = 3,	/* bits of KVM's dirty log are counted */
};

enum attach_dirty_rate_status {
	ATTACH_DIRTY_RATE_UNSTARTED = 1,
	ATTACH_DIRTY_RATE_MEASURING = 2,
	ATTACH_DIRTY_RATE_MEASURED = 3,
};

#define ATTACH_DIRTY_RATE_MS_MIN 50U
#define ATTACH_DIRTY_RATE_MS_MAX 60000U
#define ATTACH_SAMPLE_PAGES_MIN 128U	/* for each GiB */
#define ATTACH_SAMPLE_PAGES_MAX 16384U
#define ATTACH_ALL_VCPUS UINT32_MAX

/* Bits of HELLO's features that say what a VMM has; nothing has to be agreed on. */
#define ATTACH_FEATURE_DIRTY_RING (1ULL << 0)

enum attach_event {
	ATTACH_EVENT_STOPPED = 1,	/* vCPUs parked */
	ATTACH_EVENT_RESUMED = 2,
	ATTACH_EVENT_SHUTDOWN = 3,
	ATTACH_EVENT_RESET = 4,
	ATTACH_EVENT_PANIC = 5,
	ATTACH_EVENT_SUSPEND = 6,
	ATTACH_EVENT_WAKEUP = 7,
	ATTACH_EVENT_HANDOVER = 8,	/* the handover state changed */
	ATTACH_EVENT_ROLLED_BACK = 9,	/* by the library on its own: text says why */
	ATTACH_EVENT_RING_BROKEN = 10,	/* the dirty ring lost entries: the migration must fail */
	ATTACH_EVENT_VCPU_ERROR = 11,	/* value: vCPU index */
	ATTACH_EVENT_UNPLUG = 12,	/* the migration waits for this device (text) to be unplugged */
	ATTACH_EVENT_BLOCKED = 13,	/* after HELLO: the guest cannot be migrated, the text says why; one each */
};

enum attach_uffd_mode {
	ATTACH_UFFD_POSTCOPY = 1,	/* missing and minor faults of all blocks: pages are put into the files, then CONTINUE */
	ATTACH_UFFD_SNAPSHOT = 2,	/* source: blocks can be write-protected; the worker's end lifts that at once */
};

enum attach_live_flags {
	ATTACH_LIVE_SENT = 1 << 0,	/* it has state to be sent */
	ATTACH_LIVE_UNPLUG = 1 << 1,	/* it may have to be unplugged first */
	ATTACH_LIVE_READY = 1 << 2,	/* the target may have to prepare: ask by LIVE_STATE */
};

enum attach_live_part {
	ATTACH_LIVE_START = 1,
	ATTACH_LIVE_CHUNK = 2,
	ATTACH_LIVE_END = 3,
};

/* Bytes inside a message. Decoded: borrowed from it. To be encoded: the caller's. */
struct attach_blob {
	const uint8_t *data;
	uint32_t len;
};

#define ATTACH_C_u8(m) uint8_t m;
#define ATTACH_C_u16(m) uint16_t m;
#define ATTACH_C_u32(m) uint32_t m;
#define ATTACH_C_u64(m) uint64_t m;
#define ATTACH_C_id(m) uint8_t m[ATTACH_ID_LEN];
#define ATTACH_C_str(m) char m[ATTACH_STR_MAX + 1];
#define ATTACH_C_blob(m) struct attach_blob m;
#define ATTACH_C_FIELD(kind, member) ATTACH_C_##kind(member)

/* B(Name in the tables, C struct tag): struct attach_hello, struct attach_hello_reply, ... */
#define ATTACH_BODIES(B)                             \
	B(HELLO, hello)                              \
	B(HELLO_REPLY, hello_reply)                  \
	B(EMPTY, empty)                              \
	B(PAUSE, pause)                              \
	B(QUERY_REPLY, query_reply)                  \
	B(MIG_OPEN, mig_open)                        \
	B(RESOLVE, resolve)                          \
	B(ANNOUNCE, announce)                        \
	B(INTERFACE, interface)                      \
	B(EVENT, event_body)                         \
	B(RAM_TABLE, ram_table)                      \
	B(RAM_TABLE_REPLY, ram_table_reply)          \
	B(RAM_BLOCK, ram_block)                      \
	B(CONFIG, config)                            \
	B(MISMATCHES, mismatches)                    \
	B(MISMATCH, mismatch)                        \
	B(HANDOVER, handover)                        \
	B(HANDOVER_LOADED, handover_loaded)          \
	B(HANDOVER_REPLY, handover_reply)            \
	B(DIRTY_START, dirty_start)                  \
	B(DIRTY_START_REPLY, dirty_start_reply)      \
	B(DIRTY_SYNC_REPLY, dirty_sync_reply)        \
	B(DIRTY_CLEAR, dirty_clear)                  \
	B(MIG_PAUSE, mig_pause)                      \
	B(MIG_PAUSE_REPLY, mig_pause_reply)          \
	B(STATE_SAVE, state_save)                    \
	B(STATE_SAVE_REPLY, state_save_reply)        \
	B(STATE_LOAD, state_load)                    \
	B(STATE_LOAD_REPLY, state_load_reply)        \
	B(STATE_FEED, state_feed)                    \
	B(STATE_FEED_REPLY, state_feed_reply)        \
	B(STATE_FEED_END, state_feed_end)            \
	B(RAM_POISON, ram_poison)                    \
	B(RAM_POISON_REPLY, ram_poison_reply)        \
	B(RAM_POISON_SET, ram_poison_set)            \
	B(LIVE_TABLE_REPLY, live_table_reply)        \
	B(LIVE_DEVICE, live_device)                  \
	B(LIVE, live)                                \
	B(LIVE_PENDING, live_pending)                \
	B(LIVE_PENDING_REPLY, live_pending_reply)    \
	B(LIVE_READ, live_read)                      \
	B(LIVE_READ_REPLY, live_read_reply)          \
	B(LIVE_LOAD, live_load)                      \
	B(LIVE_STATE_REPLY, live_state_reply)        \
	B(THROTTLE, throttle)                        \
	B(RAM_OFFER, ram_offer)                      \
	B(DIRTY_RATE, dirty_rate)                    \
	B(DIRTY_LIMIT, dirty_limit)                  \
	B(DIRTY_QUERY_REPLY, dirty_query_reply)      \
	B(VCPU_DIRTY, vcpu_dirty)                    \
	B(MIG_DIRTY_LIMIT_REPLY, mig_dirty_limit_reply) \
	B(UFFD_OPEN, uffd_open)                      \
	B(UFFD_OPEN_REPLY, uffd_open_reply)          \
	B(MEMO, memo)                                \
	B(CPR_EXEC, cpr_exec)

/* `empty` has no field; a struct needs one in ISO C. */
#define ATTACH_STRUCT(upper, lower)                           \
	struct attach_##lower {                               \
		ATTACH_##upper##_FIELDS(ATTACH_C_FIELD)       \
	};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
ATTACH_BODIES(ATTACH_STRUCT)
#pragma GCC diagnostic pop
#undef ATTACH_STRUCT

#endif
