/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's bandwidth budget at work: what each outgoing migration used is looked at five times a second, and its worker
 * told its share (LINK_SHARE) when that changes. Workers keep theirs while no daemon runs.
 */
#ifndef MIGD_DAEMON_SHARES_H
#define MIGD_DAEMON_SHARES_H

#include <stdbool.h>
#include <stdint.h>

struct daemon;
struct migration;

/* What is remembered of a migration: in struct migration. */
struct share {
	uint64_t bps;	   /* as its worker was told; 0: no limit */
	uint64_t wish_bps; /* budget_wish() */
	uint64_t sent_bytes, limited_us; /* of the statistics, at the last look */
};

/* M's worker is about to get its START, with M's share; the others' are less from now on. */
void shares_join(struct migration *m);

/* M was taken over from a former daemon, which had told its worker m->share.bps. */
void shares_rejoin(struct migration *m);

/* For query-migrate: true if M has a part in the budget, in *RET_BPS. */
bool shares_of(const struct migration *m, uint64_t *ret_bps);

/* The budget changed, or who has a part in it, or a weight. */
void shares_review(struct daemon *d);

/* The daemon ends. */
void shares_done(struct daemon *d);

#endif
