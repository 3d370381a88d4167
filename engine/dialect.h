/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a source may say to a peer that is no migd: parameter peer-version (WIRE.md 13). A destination needs none of this. It sees how the
 * source synchronises (engine/ram-target.c), takes what it is not sent for absent, and bears with channels of multifd that
 * end without TLS's goodbye (engine/in.c).
 */
#ifndef MIGD_ENGINE_DIALECT_H
#define MIGD_ENGINE_DIALECT_H

#include <stdbool.h>

#include "engine/peer.h"
#include "schema/types.h"

struct dialect {
	bool switchover_start;	/* from 10.0: the switchover is announced */
	bool zero_lists;	/* from 9.0: packets of multifd list pages of zeros; before, they are dropped without a word */
	bool late_preempt;	/* from 8.0: the channel for urgent pages is opened at the switch to post-copy, not at the start */
	bool sync_records;	/* from 8.1: a record is multifd's sync point; before, the end of each section is (WIRE.md 3.4) */
};

/* Static. Between migds the newest one, whatever P says. */
const struct dialect *dialect_of(enum peer_kind peer, const struct migration_parameters *p);

#endif
