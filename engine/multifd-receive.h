/* SPDX-License-Identifier: Apache-2.0 */
/* One channel of multifd at the destination: its packets, into guest memory. On the channel's own thread. */
#ifndef MIGD_ENGINE_MULTIFD_RECEIVE_H
#define MIGD_ENGINE_MULTIFD_RECEIVE_H

#include "engine/in.h"
#include "engine/multifd-packet.h"

struct multifd_receiver;

enum multifd_received {
	MULTIFD_RECEIVED_PACKET = 1,
	MULTIFD_RECEIVED_SYNC,	/* its pages, if it had any, are in memory */
	MULTIFD_RECEIVED_END,	/* the source closed the channel, behind a SYNC */
};

/* CHAN, RAM, STATS and ERR, where errors go, are borrowed. NULL with ERR. */
struct multifd_receiver *multifd_receiver_new(struct chan *chan, struct ram *ram, struct stats_page *stats,
					      enum multi_fd_compression codec, struct merr *err);
struct multifd_receiver *multifd_receiver_free(struct multifd_receiver *r);

/* Take one packet: enum multifd_received, or -errno. */
int multifd_receive(struct multifd_receiver *r);

/* While the channel waits at a sync point: the blocks that it had pages of have been `named`. */
void multifd_receiver_mark_named(struct multifd_receiver *r);

#endif
