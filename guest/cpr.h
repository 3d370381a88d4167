/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory that comes from another VMM instead of being made here (docs/cpr.md). It is shared with that VMM, which runs
 * its guest in it until this one's handover is committed: nothing here may write it before.
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
	uint8_t handover_id[ATTACH_ID_LEN];	/* the only one that may bring the guest */
	struct cpr_block blocks[ATTACH_RAM_BLOCKS_MAX];
	size_t n_blocks;
};

/* Tell the old side that the guest can come (WHY NULL), or that it cannot. Once; later calls do nothing. */
void cpr_answer(struct migd_guest_cpr *cpr, const struct merr *why);

/* The VMM registers B: it must be what was handed over under that name. */
int cpr_claim(struct migd_guest_cpr *cpr, const struct ram_block *b, struct merr *err);
/* -EINVAL: a block that was handed over was not registered. */
int cpr_check_claimed(const struct migd_guest_cpr *cpr, struct merr *err);

/* Whether handover ID may bring the guest. */
bool cpr_admits(const struct migd_guest_cpr *cpr, const uint8_t id[ATTACH_ID_LEN]);

/* To poll for the old side's end; -1: there is nothing to wait for. */
int cpr_poll_fd(const struct migd_guest_cpr *cpr);
/* Service thread: the old side ended before the handover began. */
void cpr_readable(struct migd_guest *g);

#endif
