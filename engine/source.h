/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outgoing side's state, shared by its phases: engine/source.c, engine/switchover.c, engine/postcopy-source.c,
 * engine/source-settle.c; engine/source-talk.c has the connection, and what is said over it.
 */
#ifndef MIGD_ENGINE_SOURCE_H
#define MIGD_ENGINE_SOURCE_H

#include "engine/convergence.h"
#include "engine/globalstate.h"
#include "engine/dialect.h"
#include "engine/guest-link.h"
#include "engine/handler.h"
#include "engine/in.h"
#include "engine/live.h"
#include "engine/migration.h"
#include "engine/multifd-source.h"
#include "engine/opening.h"
#include "engine/out.h"
#include "engine/ram-source.h"
#include "engine/return-path.h"
#include "engine/source-stats.h"
#include "engine/source-strategy.h"
#include "engine/source-throttle.h"
#include "engine/unacked.h"

struct page_server;

/* Migration thread only. */
struct source {
	struct migration *m;
	struct guest_link guest;
	struct ram ram;
	struct chan *chan;
	struct out *out;
	struct in *in;			/* the return path */
	struct handlers handlers;	/* all that is sent in sections */
	struct ram_source *sender;
	struct multifd_source *multifd;	/* its channels; NULL: none, or none any more */
	struct page_server *server;	/* post-copy: the target may ask for pages; else NULL */
	struct live live;		/* the VMM's large devices */
	struct globalstate run_state;
	struct convergence convergence;
	struct source_throttle throttle;
	struct source_strategy strategy;
	struct source_stats stats;
	enum peer_kind peer;
	uint64_t features;		/* enum hello_feature, of both sides */
	uint64_t bandwidth_bps;		/* of the last pass */
	uint64_t left_bytes;		/* of all handlers, after the last sync */
	uint64_t last_tick_ns;
	uint64_t last_alive_ns;
	bool guest_paused;		/* by this migration: heartbeats keep the lease */
	uint32_t asked, answered;	/* the last question's number (PINGs, and marks in RAM), and the last that was answered */
	uint32_t drained;		/* the question of the last source_drain() */
	struct unacked unacked;		/* what may not have arrived */
	bool resumes;			/* both sides go on over another connection: the target waits, or is to be told not to */
	bool begun_there;		/* the target has all STARTs */
	bool switchover_acked;		/* the destination is ready: engine/switchover-ack.h */
	enum migration_status doubt_status; /* shown while it is not known whether the target runs the guest */
	bool stream_ended;		/* between sections: the peer takes handover commands */
	uint16_t last_word;		/* what the target waits for at the end: WIRE_CMD_SETTLED or _ABORT; 0: nothing */
	struct merr err;		/* the first failure */
};

/* How a side's part ended. */
enum source_end {
	SOURCE_REVOKED = 1,	/* failed or cancelled before RELEASE: the guest is to run here */
	SOURCE_RETIRED,		/* the target runs it */
	SOURCE_RECLAIMED,	/* released, but it runs here again */
	SOURCE_LOST,		/* released, and the VMM is gone */
	SOURCE_COMPARED,	/* a preflight only: nothing was touched */
	SOURCE_STAYS,		/* its image is whole, and it runs on here */
};

/*
 * Send header and configuration and find out what the peer is: `peer`, `features`. engine/source.c. Text in `err`.
 */
int source_open_stream(struct source *s);

/* How to speak to the peer, once it is known what it is. */
const struct dialect *source_dialect(const struct source *s);

/* Ask, by PING, whether all that was sent so far has arrived; the question's number. source_take_message() takes the answer. Not flushed. */
uint32_t source_ask(struct source *s);

/*
 * Wait until the destination has taken, and loaded, everything sent so far; TIMEOUT_MS 0: for ever. Megabytes fit into the
 * sockets' buffers: a guest stopped before they are drained waits for them, and a pass that seems to end when its last byte
 * is written seems too fast. Without a return path: only flushed.
 */
int source_drain(struct source *s, uint64_t timeout_ms);

/* What the peer says while pages are sent is heard. For a new connection. */
void source_listen(struct source *s);

/*
 * Pre-copy that goes on over another connection: engine/source-resume.c. source_resume_prepare(): before the STARTs.
 * source_resume(): a pass, or what lies between two, failed with R: 0: the connection was lost, and there is another one, over
 * which the next pass sends what may be missing; else the error that ends the migration.
 */
int source_resume_prepare(struct source *s);
int source_resume(struct source *s, int r);
/* It failed here, and the target may be waiting for another connection: tell it. After all has been reported. */
void source_tell_given_up(struct source *s);

/* Sync, publish what it found, tell of the pass. */
int source_sync(struct source *s);

/* While the guest may be paused and pages are sent: events, return path, heartbeats. A ram_tick_fn. */
int source_tick(void *source);

/* Between sections, while nothing is sent for long: a sign of life now and then. */
int source_keep_alive(struct source *s);

/* Pages need no channels any more, or never again. */
void source_close_channels(struct source *s);

/* Wait for message TYPE on the return path; others that may come are dealt with. TIMEOUT_MS 0: for ever. */
int source_await(struct source *s, uint16_t type, uint64_t timeout_ms, struct rp_msg *ret);

/*
 * The peer said something: take one message, and do what it asks for if that can be done here. 1: there is no room for more
 * now. An out_input_fn.
 */
int source_take_input(void *source);

/* What may come unasked on the return path: a failure, in post-copy requests for pages, or nothing of note. */
int source_take_message(struct source *s, const struct rp_msg *m);

/* Writing failed with R: the source's error is the peer's last words, if there are any. */
int source_stream_failed(struct source *s, int r);

/* From pause to the end: engine/switchover.c. Before RELEASE a failure gives SOURCE_REVOKED. */
enum source_end source_switchover(struct source *s);

/* Released, and the peer did not say ACTIVE: ask until somebody knows. engine/source-settle.c. */
enum source_end source_settle(struct source *s);
/* Released, and it is certain that the guest runs nowhere else: take it back. BECAUSE says how that is known. Sets `last_word`. */
enum source_end source_reclaim(struct source *s, const char *because);
/* The target runs it, and has all there is of it: the library is told, as far as it is there. Sets `last_word`. */
enum source_end source_retire(struct source *s);

/*
 * The guest stays here, and the target may have loaded it (ABORT): tell it, over new connections if need be, for as long as an
 * hour. After all has been reported: nobody here waits for this. engine/source-settle.c.
 */
void source_tell_abort(struct source *s);
/* The same of `last_word`; that what the target said has arrived (SETTLED), for as long as five minutes. */
void source_tell_last_word(struct source *s);
/* ABORT, by a successor of the worker that was to say it. */
void source_abort_only(struct source *s);

/* Send a command whose payload is the handover id; failures show when an answer is awaited. */
void source_command(struct source *s, uint16_t command);

/*
 * A stream over FD (taken over), with its two directions, TLS's handshake done. Replaces the one there was. CANCEL_FD (-1:
 * none) ends what waits on it.
 */
int source_connect(struct source *s, int fd, int cancel_fd);
/* The connection there is, if any, and what rests on it. */
void source_disconnect(struct source *s);

#endif
