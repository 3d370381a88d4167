/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second connection of post-copy (capability postcopy-preempt): pages that were asked for, past all others (WIRE.md
 * 7.4). Records as in a section `ram`, without sections around them. On a thread of its own, "mig/dst/urgent".
 *
 * Between migds it begins with WIRE_PREEMPT_MAGIC and the handover id. A QEMU's says nothing before the first page: it is the
 * one that is silent once the main connection is there.
 */
#ifndef MIGD_ENGINE_URGENT_CHANNEL_H
#define MIGD_ENGINE_URGENT_CHANNEL_H

#include "attach/proto.h"
#include "base/err.h"
#include "engine/ram-place.h"

/* Between migds: the magic and the handover id. */
#define URGENT_HELLO_LEN (4 + ATTACH_ID_LEN)

struct target;
struct urgent_channel;

/* Such a channel will come, at a time of the source's choosing: urgent_channel_watch() from here on. */
void urgent_channel_expect(struct target *t);
/*
 * A QEMU makes it in mid-section, and sends nothing until its handshake is over: T's stream is left alone for that every now and
 * then. From here on; IDLE_MS: how long the stream may be silent.
 */
void urgent_channel_mind(struct target *t, uint64_t idle_ms);
/*
 * While it is expected, between sections: wait until there is something to read on T's connection, and let the channel's handshake go on
 * meanwhile, for which the source waits. 0, also when nothing came until DEADLINE_NS: reading tells; or -errno with T's error.
 */
int urgent_channel_watch(struct target *t, uint64_t deadline_ns);

/* Wait for T's and begin to receive. PLACEMENT is borrowed. NULL with T's error. */
struct urgent_channel *urgent_channel_await(struct target *t, struct placement *placement);
/* Ends the thread. NULL is fine; returns NULL. */
struct urgent_channel *urgent_channel_free(struct urgent_channel *u);

/* Readable when nothing comes by it any more; when it failed. */
int urgent_channel_ended_fd(const struct urgent_channel *u);
int urgent_channel_failed_fd(const struct urgent_channel *u);
/* It ended because it failed: true, and why in ERR. NULL is fine. */
bool urgent_channel_why(struct urgent_channel *u, struct merr *err);

#endif
