/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large devices of the VMM's (migd/live.h) as members of the registry of section handlers. The library fills and takes
 * chunks in an area of memory that it shares with this worker; here they get the framing of docs/live-devices.md, so
 * that a receiver can bound what it reads without knowing the device. Migration thread only.
 */
#ifndef MIGD_ENGINE_LIVE_H
#define MIGD_ENGINE_LIVE_H

#include "attach/proto.h"
#include "engine/guest-link.h"
#include "engine/handler.h"

/* Of the framing, in each START. */
#define LIVE_FORMAT 1U

struct live;

struct live_section {
	struct live *live;
	struct attach_live_device device;	/* name, instance, versions, flags */
	uint32_t index;				/* the library's */
	bool in_pass;
	uint64_t budget_bytes;			/* source: what this pass may still send */
	uint64_t n_chunks;			/* target: loaded so far */
};

/* Zero-initialise. */
struct live {
	struct guest_link *guest;	/* borrowed */
	bool required;			/* target: see live_target_register() */
	uint8_t *area;			/* ATTACH_LIVE_CHUNK_MAX bytes */
	struct live_section sections[ATTACH_LIVE_DEVICES_MAX];
	size_t n;
};

/* Ask the library what there is, and map the area. A library that knows no such devices has none. */
int live_open(struct live *l, struct guest_link *guest, struct merr *err);
void live_close(struct live *l);

/* Source: tell the devices that it begins, which asks for those that have to be unplugged. Once, before handlers_setup(). */
int live_begin(struct live *l, struct merr *err);
int live_source_register(struct handlers *hs, struct live *l, struct merr *err);

/* Target. REQUIRED: a stream without one of them is refused (a QEMU sends none). */
int live_target_register(struct handlers *hs, struct live *l, bool required, struct merr *err);
/* Target: whether no device has to prepare any more (switchover-ack). */
int live_ready(struct live *l, bool *ret, struct merr *err);

/* What the registry is to know of S. */
struct handler live_handler(struct live_section *s, const struct handler_ops *ops);

/* Requests about one device: engine/live.c. */
int live_setup(struct live_section *s, struct merr *err);
int live_pending(struct live_section *s, bool exact, uint64_t *ret_bytes, struct merr *err);
/* A chunk of *ret_len bytes (0: none) is in the area; *ret_more: another call may find more. */
int live_read(struct live_section *s, bool complete, uint32_t *ret_len, bool *ret_more, struct merr *err);
int live_load(struct live_section *s, uint32_t version, enum attach_live_part part, uint32_t len,
	      struct merr *err);
int live_state(struct live_section *s, struct attach_live_state_reply *ret, struct merr *err);

#endif
