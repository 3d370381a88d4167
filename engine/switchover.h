/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pieces of a switchover, which pre-copy (engine/switchover.c), pre-copy to a peer that is no migd
 * (engine/switchover-alone.c) and post-copy (engine/postcopy-source.c) put together. Migration thread. Each gives 0 or
 * -errno with the source's error, and measures itself in the blackout_* statistics.
 */
#ifndef MIGD_ENGINE_SWITCHOVER_H
#define MIGD_ENGINE_SWITCHOVER_H

#include "base/buf.h"
#include "engine/source.h"

/* Loading device state is quick; a target silent for this long is taken for dead. */
#define LOADED_TIMEOUT_MS 30000

/* A switchover's progress. */
struct blackout {
	uint64_t start_ns;	/* the library's request to park */
	uint64_t mark_ns;	/* the end of the last measured part */
	struct attach_state_save_reply state;
	int state_fd;
	struct buf devices;	/* descriptions of the engine's own sections */
};

#define BLACKOUT_INIT { .state_fd = -1 }

void blackout_done(struct blackout *b);
/* Microseconds since the last mark; marks. */
uint64_t blackout_lap_us(struct blackout *b);
/* It is over: downtime_ms. */
void blackout_over(struct source *s, struct blackout *b);

/* Stop the guest, by the library's request; the blackout begins. */
int source_pause_guest(struct source *s, struct blackout *b);
/* The same, and wait for migrate-continue if that is wanted. From here on the status is `device`. */
int switchover_pause(struct source *s, struct blackout *b);
/* Its devices' state, then what it dirtied last: `todo` is all that is missing over there. */
int switchover_save(struct source *s, struct blackout *b);
/* The switchover begins for a peer that wants to know. */
void switchover_announce(struct source *s);

/* The library's sections, from its memfd. */
int switchover_send_library_state(struct source *s, const struct blackout *b);
/* One package of known length: HEAD, the engine's sections, the library's, TAIL. Not flushed behind the library's. */
int switchover_send_package(struct source *s, const struct blackout *b, const struct buf *head, const struct buf *tail);
int switchover_await_loaded(struct source *s, struct blackout *b);

/*
 * RELEASE, the point of no return: nothing is cancelled any more. 1: its library does not answer, so nobody knows whether it
 * was carried out. -ECANCELED without a text, as others before RELEASE: the guest stays.
 */
int switchover_release(struct source *s);

/* The target was told to run the guest: wait until it says that it does. */
int switchover_await_active(struct source *s, struct blackout *b);
/* It did not, in time or at all: S->err says why. Ask until somebody knows. */
enum source_end switchover_in_doubt(struct source *s);

/*
 * For a peer that is no migd, in place of the package and of COMMIT: all sections one by one; then the end of the stream.
 * engine/switchover-alone.c.
 */
int source_send_state_alone(struct source *s, struct blackout *b);
enum source_end source_commit_alone(struct source *s, struct blackout *b);
/* The end mark, and the stream's description of itself. */
int source_send_end(struct source *s, const struct blackout *b);

#endif
