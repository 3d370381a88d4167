/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handover: who may run the guest. The states, the legal moves, and the decision page.
 *
 *   source   RUNNING > PRECOPY > PAUSED > RELEASED > RETIRED     (PRECOPY, PAUSED may go back to RUNNING)
 *   target   EMPTY > INCOMING > LOADED > RUNNING                 (any before RUNNING may go to DISCARDED)
 *
 * RELEASED > RUNNING only on the target's NOT_ACTIVE or an operator's word (RECLAIM). LOADED > RUNNING and
 * LOADED > DISCARDED are one compare-and-swap in the decision page: a one-page memfd, made by the library
 * and given away at HELLO, that outlives the VMM.
 */
#ifndef MIGD_ATTACH_HANDOVER_H
#define MIGD_ATTACH_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/proto.h"

enum handover_state {
	HANDOVER_INVALID = 0,
	HANDOVER_RUNNING = 1,	/* the guest is here; nothing else is claimed */
	HANDOVER_PRECOPY = 2,
	HANDOVER_PAUSED = 3,
	HANDOVER_RELEASED = 4,	/* may run again only by RECLAIM */
	HANDOVER_RETIRED = 5,	/* runs elsewhere, for good */
	HANDOVER_EMPTY = 6,	/* waits for a guest */
	HANDOVER_INCOMING = 7,
	HANDOVER_LOADED = 8,
	HANDOVER_DISCARDED = 9,	/* for good */
	HANDOVER_N_STATES = 10,
};

/* What makes it move; the same names as the messages'. */
enum handover_event {
	HANDOVER_EV_BEGIN = 1,
	HANDOVER_EV_PAUSE,
	HANDOVER_EV_ABORT,	/* revocable states only */
	HANDOVER_EV_RELEASE,
	HANDOVER_EV_RETIRE,
	HANDOVER_EV_RECLAIM,
	HANDOVER_EV_LOADED,
	HANDOVER_EV_ACTIVATE,
	HANDOVER_EV_DISCARD,
	HANDOVER_N_EVENTS,
};

/* The state after EVENT in STATE, or HANDOVER_INVALID if that move does not exist. The only table. */
enum handover_state handover_next(enum handover_state state, enum handover_event event);

/* True where a vCPU may enter KVM_RUN (unless somebody paused it). */
bool handover_may_run(enum handover_state state);

const char *handover_state_name(enum handover_state state);	/* "released"; "invalid" */
const char *handover_event_name(enum handover_event event);

/* The decision page: 4096 bytes, native little-endian. */
#define DECISION_MAGIC 0x4344474dU	/* "MGDC" */
#define DECISION_VERSION 1
#define DECISION_PAGE_LEN 4096U
struct decision_page {
	uint32_t magic;
	uint32_t version;
	uint8_t handover_id[ATTACH_ID_LEN];	/* written while EMPTY > INCOMING or RUNNING > PRECOPY */
	uint32_t state;				/* enum handover_state; atomic */
	uint32_t reserved;
};

/*
 * Map a decision page from FD (borrowed) for reading only, after checking its size, seals and magic.
 * -EBADMSG if it is none. Unmap with decision_unmap().
 */
int decision_map(int fd, const struct decision_page **ret);
void decision_unmap(const struct decision_page *page);
enum handover_state decision_state(const struct decision_page *page);

/* True if FD is a decision page that says that the guest of handover ID was activated. */
bool decision_runs(int fd, const uint8_t id[ATTACH_ID_LEN]);

/* "3f2a..." (32 digits) and back; the latter 0 or -EINVAL. */
void handover_id_format(const uint8_t id[ATTACH_ID_LEN], char ret[2 * ATTACH_ID_LEN + 1]);
int handover_id_parse(const char *text, uint8_t ret[ATTACH_ID_LEN]);

#endif
