/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker in post-copy leaves with the guest's library, so that a successor can go on (attach/proto.h, MEMO): what only the
 * connection told, which is lost with it. There is one as long as pages may be missing.
 */
#ifndef MIGD_ENGINE_POSTCOPY_MEMO_H
#define MIGD_ENGINE_POSTCOPY_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/guest-link.h"
#include "engine/peer.h"

struct postcopy_memo {
	enum peer_kind peer;
	uint64_t features;	/* enum hello_feature, of both sides */
	uint32_t ram_section;	/* the id that the stream's sections `ram` have */
	bool release_ram;	/* a source that frees pages, and only such as have arrived: older ones freed what they sent */
};

int postcopy_memo_set(struct guest_link *g, const struct postcopy_memo *memo, struct merr *err);
/* All pages are there. */
int postcopy_memo_clear(struct guest_link *g, struct merr *err);
/* -ENOENT: there is none; -EBADMSG with ERR: another migd's, which this one does not understand. */
int postcopy_memo_get(struct guest_link *g, struct postcopy_memo *ret, struct merr *err);

#endif
