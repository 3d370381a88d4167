/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory that comes from another VMM instead of being made here (docs/cpr.md). It is shared with that VMM, which runs
 * its guest in it until this one's handover is committed: nothing here may write it before. Or it is left by the program
 * that this process was before (cpr-exec).
 *
 * Until it is given to migd_guest_new() it belongs to the VMM's thread; from migd_guest_start() on to the service thread.
 */
#ifndef MIGD_GUEST_CPR_H
#define MIGD_GUEST_CPR_H

#include <migd/guest.h>
#include <stdbool.h>
#include <stdint.h>

#include "attach/conn.h"
#include "attach/proto.h"
#include "base/err.h"
#include "guest/tables.h"

struct cpr_block {
	struct attach_ram_block row;
	int fd;		/* owned */
	bool claimed;	/* the VMM registered it */
};

struct migd_guest_cpr {
	char *path;		/* of the listener */
	int listen_fd;		/* -1: none, or done with */
	struct conn *conn;	/* to whom the offer's answer goes; NULL: answered */
	uint32_t seq;		/* of the offer */
	bool inherited;		/* over exec: there is no other VMM */
	uint8_t handover_id[ATTACH_ID_LEN];	/* not inherited: the only one that may bring the guest */
	struct cpr_block blocks[ATTACH_RAM_BLOCKS_MAX];
	size_t n_blocks;
};

/*
 * An environment variable that tells a program what it inherits: "PID:TABLE:FD,FD,...": the process, a memfd with a
 * RAM_OFFER's body, and the descriptors of its blocks.
 */
#define CPR_VARIABLE "MIGD_CPR"

/* Tell the old side that the guest can come (WHY NULL), or that it cannot. Once; later calls do nothing. */
void cpr_answer(struct migd_guest_cpr *cpr, const struct merr *why);

struct migd_guest_cpr *cpr_new(void);
/* Check OFFER's blocks and take over their FDS: those taken become -1. */
int cpr_take_blocks(struct migd_guest_cpr *cpr, const struct attach_ram_offer *offer, int *fds,
		    size_t n_fds, struct merr *err);

/* The VMM registers B: it must be what was handed over under that name. */
int cpr_claim(struct migd_guest_cpr *cpr, const struct ram_block *b, struct merr *err);
/* Every block was registered, else -EINVAL; their descriptors here are not needed any more. */
int cpr_finish_claims(struct migd_guest_cpr *cpr, struct merr *err);

/* Whether handover ID may bring the guest. */
bool cpr_admits(const struct migd_guest_cpr *cpr, const uint8_t id[ATTACH_ID_LEN]);

/* To poll for the old side's end; -1: there is nothing to wait for. */
int cpr_poll_fd(const struct migd_guest_cpr *cpr);
/* Service thread: the old side ended before the handover began. */
void cpr_readable(struct migd_guest *g);

#endif
