/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of section handlers: everything that a stream carries in sections is a handler's, RAM included.
 *
 * Two kinds. A *live* handler (with `iterate`) sends its state while the guest runs: START by `setup`, any number of PARTs
 * by `iterate`, END by `complete` once the guest is stopped. Any other sends its whole state as one FULL section by
 * `save`, after the guest was stopped. The registry hands out section ids, writes and checks what is around a body
 * (WIRE.md 1.2), and finds the handler that a section is for.
 *
 * One registry a migration and side; migration thread only. Handlers register before the setup and stay to the end.
 * Hooks give 0 or -errno; a reason, when there is a better one than the errno, goes to ERR (loading: in_fail()).
 */
#ifndef MIGD_ENGINE_HANDLER_H
#define MIGD_ENGINE_HANDLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "engine/in.h"
#include "engine/out.h"
#include "engine/wire.h"

#define HANDLERS_MAX 64
#define HANDLER_NO_ALIAS UINT32_MAX

/* In what order handlers are walked, higher first; in the order of registration within one (WIRE.md 2.3). */
enum handler_priority {
	HANDLER_PRIORITY_LOW = 1,
	HANDLER_PRIORITY_DEFAULT = 2,
	HANDLER_PRIORITY_RAM = 100,	/* the bulk goes first */
};

/*
 * What a handler can do; a hook that does not apply is NULL. What a hook queues by out_ref() must stay valid until the
 * registry has flushed, which it does before the same handler's next turn.
 */
struct handler_ops {
	/* Source, live. A handler without `setup` sends an empty START. */
	int (*setup)(void *opaque, struct out *out, struct merr *err);
	/* Bytes that are still to be sent: as known, and after looking (a dirty sync). No hook: 0; no exact one: as estimated. */
	int (*pending_estimate)(void *opaque, uint64_t *ret_bytes, struct merr *err);
	int (*pending_exact)(void *opaque, uint64_t *ret_bytes, struct merr *err);
	/*
	 * Send what is pending. 1: all that was; 0: stopped early, with more to send in this pass: when
	 * out_batch_bytes() are written, say, so that others have their turn.
	 */
	int (*iterate)(void *opaque, struct out *out, struct merr *err);
	/* The guest is stopped: send the rest, all of it. */
	int (*complete)(void *opaque, struct out *out, struct merr *err);
	/* In post-copy that may come when the guest runs on the target. */
	bool postcopy;

	/* Source, whole state: append the body. */
	int (*save)(void *opaque, struct buf *body, struct merr *err);
	/* JSON members that describe it, from "vmsd_name" on (WIRE.md 1.4); NULL: described as so many bytes. */
	const char *vmsd;

	/* Source: the guest is still to give a device up; the migration stays in `wait-unplug` until none says so. */
	bool (*unplug_pending)(void *opaque);

	/* Destination. Both read a body exactly to its end; errors are IN's. */
	int (*load_setup)(void *opaque, struct in *in, uint32_t version);	/* START; NULL: it has no bytes */
	int (*load)(void *opaque, struct in *in, enum wire_section part, uint32_t version); /* PART, END, FULL */
	/* Destination, before LOADED: refuse a stream that lacks what this handler needs. SEEN: a section came. */
	int (*load_done)(void *opaque, struct in *in, bool seen);

	/* Both, once, whatever happened. */
	void (*cleanup)(void *opaque);
};

struct handler {
	const char *idstr;		/* 1..255 bytes */
	uint32_t instance;
	uint32_t alias;			/* a second instance id it answers to, or HANDLER_NO_ALIAS */
	uint32_t version;		/* as sent, and the newest that can be loaded */
	uint32_t minimum_version;	/* the oldest that can be loaded */
	enum handler_priority priority;
	const struct handler_ops *ops;
	void *opaque;

	/* The registry's. */
	uint32_t section_id;		/* source: ours; destination: the peer's, once announced */
	uint32_t loaded_version;
	bool announced;			/* destination: START or FULL came */
	bool ended;			/* END or FULL came; source: END was sent */
	bool begun;			/* destination: the whole body of START came */
};

struct handlers {
	struct handler list[HANDLERS_MAX];	/* in the order they are walked */
	size_t n;
	uint32_t next_id;
};

/* What a section begins with; PART and END have type and id only. */
struct section_head {
	enum wire_section type;
	uint32_t id;
	char idstr[256];
	uint32_t instance;
	uint32_t version;
};

/* Add a copy of H. -EEXIST, -EINVAL or -ENOSPC with ERR. */
int handlers_add(struct handlers *hs, const struct handler *h, struct merr *err);
/* By its own or its alias instance id; NULL: none. */
struct handler *handlers_find(struct handlers *hs, const char *idstr, uint32_t instance);
/* Calls every `cleanup`, and forgets all. */
void handlers_done(struct handlers *hs);

/*
 * Source; each flushes. When the stream itself fails, out_error() is set and ERR may have no text.
 *
 * Sections of others than the registry's handlers may have ids from handlers_free_id() on.
 */
uint32_t handlers_free_id(const struct handlers *hs);
int handlers_setup(struct handlers *hs, struct out *out, struct merr *err);
/* The sum over all; EXACT makes each look. */
int handlers_pending(struct handlers *hs, bool exact, uint64_t *ret_bytes, struct merr *err);
/* One pass: every live handler has turns until each has sent what it had. Between turns BETWEEN is called: 0 to go on. */
int handlers_iterate(struct handlers *hs, struct out *out, int (*between)(void *), void *opaque,
		     struct merr *err);
/* Each that is not complete yet. POSTCOPY: but for those whose rest may come later. */
int handlers_complete(struct handlers *hs, struct out *out, bool postcopy, struct merr *err);
/* A section of H, for what is sent outside of its turns: head, then the body (the caller's), then the footer. */
void section_begin(struct out *out, const struct handler *h, enum wire_section type);
void section_end(struct out *out, const struct handler *h);
/* All FULL sections, in order, into SECTIONS; DEVICES, unless NULL, gets their descriptions, separated by ", ". */
int handlers_save(struct handlers *hs, struct buf *sections, struct buf *devices, struct merr *err);
bool handlers_unplug_pending(struct handlers *hs);

/* Destination: the rest of a head, whose type byte was read. */
int section_head_read(struct in *in, uint8_t type, struct section_head *ret);
/* Bytes of a START or FULL head as they were on the wire, type byte included. */
void section_head_put(struct buf *b, const struct section_head *head);
/*
 * Load the section that HEAD announces, footer included. 1: it was; 0: a START or FULL that no handler here knows, of
 * which nothing was read; or IN's error.
 */
int handlers_load(struct handlers *hs, struct in *in, const struct section_head *head);
/*
 * The stream broke, and goes on over another connection: what did not begin as a whole will be announced anew. True: all that
 * are live have begun.
 */
bool handlers_load_anew(struct handlers *hs);
int section_footer_check(struct in *in, const char *idstr, uint32_t id);
/* The stream's sections are over; IN_POSTCOPY: but for those that may come when the guest runs here. */
int handlers_load_done(struct handlers *hs, struct in *in, bool in_postcopy);

#endif
