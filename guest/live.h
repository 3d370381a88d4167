/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State that is sent while the guest runs (migd/live.h): what was registered, and where a migration stands with it. Chunks
 * cross between library and worker in one shared area, a sealed memfd that both map.
 */
#ifndef MIGD_GUEST_LIVE_H
#define MIGD_GUEST_LIVE_H

#include <migd/live.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attach/proto.h"

struct migd_guest;

struct live_device {
	char name[ATTACH_STR_MAX + 1];
	struct migd_live ops;	/* its `name` is the one above */
};

/* Of one migration. Service thread. */
struct live_session {
	int area_fd;		/* -1: none yet */
	uint8_t *area;		/* ATTACH_LIVE_CHUNK_MAX bytes, shared with the worker */
	uint8_t *copy;		/* as many: what is loaded cannot change any more */
	/* Bits by device. */
	uint32_t set_up;	/* cleanup is due */
	uint32_t loading;	/* load_cleanup is due */
	uint32_t loaded;	/* its last chunk came */
};
_Static_assert(ATTACH_LIVE_DEVICES_MAX <= 32, "a bit for each device");

void live_session_init(struct live_session *s);
/* The channel is gone: nothing can be loaded or read any more. What cleanups are due stays due. */
void live_close_area(struct migd_guest *g);

/* The end of a migration: call the cleanups that are due. */
void live_source_end(struct migd_guest *g, bool moved);
void live_target_end(struct migd_guest *g, bool arrived);

/* Whether D has state that is sent; else it is here to be unplugged only. */
static inline bool live_is_sent(const struct live_device *d)
{
	return d->ops.iterate != NULL;
}

#endif
