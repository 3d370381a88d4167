/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's side of the migration channel: requests to libmigd-guest, one function each, and the events that it
 * sends. Used by the migration thread only. Each call waits at most GUEST_CALL_MS (the pause: as told) and ends early
 * with -ECANCELED when the cancel descriptor is readable, unless guest_link_no_cancel() was called.
 */
#ifndef MIGD_ENGINE_GUEST_LINK_H
#define MIGD_ENGINE_GUEST_LINK_H

#include "attach/conn.h"
#include "attach/handover.h"
#include "attach/mismatch.h"
#include "engine/ram.h"
#include "engine/stats-page.h"

/* A library that does not answer within this is taken for stuck. Its lease is 10 s: less than that. */
#define GUEST_CALL_MS 8000U

struct guest_link {
	struct conn *conn;
	int cancel_fd;
	uint8_t id[ATTACH_ID_LEN];	/* handover id, in every request that moves the handover */
	struct merr event;		/* an event that the migration does not survive */
	bool event_is_cause;		/* it explains why a request failed */
};

/* Take over FD. -ENOMEM. */
int guest_link_init(struct guest_link *g, int fd, int cancel_fd);
void guest_link_done(struct guest_link *g);

/* From here on a cancel does not interrupt calls: the handover has begun. */
void guest_link_no_cancel(struct guest_link *g);

/* Take events that have come; 0, or the error of one that ends the migration (shutdown, panic, rolled back, gone). */
int guest_link_poll(struct guest_link *g, struct merr *err);

/* For requests made elsewhere: R, or why WHAT failed, in the library's words or by what became of the VMM. */
int guest_link_explain(struct guest_link *g, int r, const char *what, struct merr *err);

/* Until when a call made now may take. */
uint64_t guest_call_deadline(uint64_t ms);
/* A call whose reply holds more than conn_request() can give back. What it returns is yet to be explained. */
int guest_call(struct guest_link *g, uint16_t type, const struct wcur *body, const int *fds, size_t n_fds,
	       struct conn_msg *ret, struct merr *err);
/*
 * The same, answered by one map per block: into the member at OFFSET of struct ram_file. CHECK looks at the rest of the reply.
 * Explained.
 */
int guest_maps(struct guest_link *g, uint16_t type, const struct wcur *body, struct ram *ram, size_t offset,
	       int (*check)(struct rcur *reply, struct merr *err), struct merr *err);
/* A CHECK: there is no rest. */
int guest_check_empty(struct rcur *reply, struct merr *err);

int guest_ram_table(struct guest_link *g, struct ram *ram, struct merr *err);
/* BUF has ATTACH_CONFIG_MAX bytes. */
int guest_config_fetch(struct guest_link *g, uint8_t *buf, size_t *ret_len, struct merr *err);
/* *RET: all that differs. It fails for what is no description, or for one that the library cannot read. */
int guest_config_compare(struct guest_link *g, const uint8_t *config, size_t len, struct mismatches *ret,
			 struct merr *err);
/* Starts logging and maps the blocks' dirty maps; all pages are marked. */
int guest_dirty_start(struct guest_link *g, struct ram *ram, struct merr *err);
int guest_dirty_sync(struct guest_link *g, struct merr *err);
/* BITS: the words that hold pages [first, first + n); first is a multiple of 64, n at most ATTACH_CLEAR_PAGES_MAX. */
int guest_dirty_clear(struct guest_link *g, unsigned int block, uint64_t first, const uint64_t *bits,
		      uint64_t n_pages, struct merr *err);
int guest_pause(struct guest_link *g, uint64_t deadline_ms, struct attach_mig_pause_reply *ret,
		struct merr *err);
/* *ret_fd: the sections, then their self-description. */
int guest_state_fetch(struct guest_link *g, uint32_t first_section_id,
		      struct attach_state_save_reply *ret, int *ret_fd, struct merr *err);
int guest_state_give(struct guest_link *g, int fd, uint64_t len, uint64_t *ret_us, struct merr *err);

/* A FULL section of a stream that is not packaged, as its header has it. */
struct guest_section {
	const char *idstr;
	uint32_t instance;
	uint32_t version;
};

struct guest_feed_result {
	bool done;		/* the section is complete */
	uint32_t consumed;	/* bytes that were the section's own */
	uint32_t needs;		/* not done: the next piece must have so many bytes (at most a few hundred) */
};

/*
 * A piece of a section's body: LEN (at most ATTACH_FEED_MAX) bytes that begin at OFFSET of the stream. BEGIN: the section
 * at its first piece, else NULL. As long as it is not done, call again with the bytes from OFFSET + consumed on, at
 * least `needs` of them: the stream is bound to have them (a section's footer, or the end mark, follows). After done,
 * the footer is the caller's to check. An error has ended the handover at the target; its text names section, offset
 * and field. A section that nobody here has is such an error.
 */
int guest_state_feed(struct guest_link *g, const struct guest_section *begin, uint64_t offset, const uint8_t *bytes,
		     size_t len, struct guest_feed_result *ret, struct merr *err);
/*
 * All sections came: fails if a mandatory one did not. RAM_ONLY: none at all is fine (qemu -M none); vCPUs and devices
 * then stay as they are. In place of guest_state_give().
 */
int guest_state_feed_end(struct guest_link *g, bool ram_only, uint64_t *ret_us, struct merr *err);
/* Slow the vCPUs down by so much, 0 to 99; lifted by the library at every end. */
int guest_throttle(struct guest_link *g, unsigned int percent, struct merr *err);
/* Limit what each vCPU dirties to so many MiB/s, measured over PERIOD_MS; lifted by the library at every end. */
int guest_dirty_limit(struct guest_link *g, uint64_t limit_mib, uint64_t period_ms, struct merr *err);
int guest_dirty_limit_stats(struct guest_link *g, struct attach_mig_dirty_limit_reply *ret, struct merr *err);
/* Maps the blocks' hint maps. -EOPNOTSUPP: the library has none. */
int guest_hint_start(struct guest_link *g, struct ram *ram, struct merr *err);
/* *ret: the damaged range with this index, and how many there are. -EOPNOTSUPP: the library has no such list. */
int guest_ram_poison(struct guest_link *g, uint32_t index, struct attach_ram_poison_reply *ret,
		     struct merr *err);
int guest_ram_poison_set(struct guest_link *g, uint32_t block, uint64_t first_page, uint64_t n_pages,
			 struct merr *err);
int guest_heartbeat(struct guest_link *g, struct merr *err);
int guest_query(struct guest_link *g, struct attach_query_reply *ret, struct merr *err);

/*
 * Become the program ARGV[0] with N arguments, that one included; N 0: only see whether the VMM can. -ENOTCONN: it did, or
 * it ended; anything else: it did not.
 */
int guest_exec(struct guest_link *g, char *const *argv, size_t n, struct merr *err);

/*
 * Post-copy, and snapshots; in guest-uffd.c. guest_uffd_open(): MODE is enum attach_uffd_mode, USERFAULTFD the descriptor of
 * /dev/userfaultfd (borrowed) or -1. What it returns is the caller's. From it on, calls that let the VMM touch guest memory
 * (loading state, activating) wait for pages, too. -EBADFD: the guest runs and has all of its pages.
 * guest_received_maps(): maps the blocks' `received`, all bits as a predecessor left them, or clear.
 * guest_uffd_end(): nobody waits any more; the maps go, too. guest_memo_*(): attach/proto.h, MEMO; BUF has ATTACH_MEMO_MAX
 * bytes.
 */
struct guest_uffd {
	int fd;
	bool existing;		/* a predecessor had it, who may have read faults that nobody served: wake all */
	uint64_t features;
	uint32_t n_vcpus;	/* at most STATS_VCPUS_MAX */
	uint32_t vcpu_threads[STATS_VCPUS_MAX];
};
int guest_uffd_open(struct guest_link *g, unsigned int mode, int userfaultfd, struct guest_uffd *ret, struct merr *err);
int guest_received_maps(struct guest_link *g, struct ram *ram, struct merr *err);
int guest_uffd_end(struct guest_link *g, struct merr *err);
int guest_memo_set(struct guest_link *g, const void *memo, size_t len, struct merr *err);
int guest_memo_get(struct guest_link *g, uint8_t *buf, size_t *ret_len, struct merr *err);

/* The moves of the handover; *ret_us may be NULL. */
int guest_begin(struct guest_link *g, struct merr *err);
int guest_abort(struct guest_link *g, enum handover_state *ret, struct merr *err);
int guest_loaded(struct guest_link *g, bool paused, struct merr *err);
int guest_release(struct guest_link *g, struct merr *err);
int guest_activate(struct guest_link *g, uint64_t *ret_us, struct merr *err);
int guest_retire(struct guest_link *g, struct merr *err);
int guest_reclaim(struct guest_link *g, struct merr *err);

#endif
