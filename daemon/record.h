/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flight recorder: what is known of one migration, noted while it runs. Everything in it is bounded (RECORD_*_MAX), so
 * that a record takes no more than RECORD_BYTES_MAX of memory, however long its migration takes.
 *
 *   daemon/record.c        its beginning, its phases, and who goes on with it
 *   daemon/record-events.c what happened, in words
 *   daemon/record-numbers.c passes, samples, the blackout
 *   daemon/recorder.c      looks at the running ones every 100 ms: samples, stalls
 *   daemon/record-file.c   how a record looks in a file
 *   daemon/history.c       keeps them
 *
 * A migration has its record from `setup` on until it is settled and the record is safe in its file. One that only compares
 * (preflight) has none. All functions here do nothing if M has none.
 */
#ifndef MIGD_DAEMON_RECORD_H
#define MIGD_DAEMON_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/types.h"

struct migration;

#define RECORD_PHASES_MAX  128U
#define RECORD_PASSES_MAX  256U
#define RECORD_SAMPLES_MAX 512U
#define RECORD_STALLS_MAX  64U
#define RECORD_EVENTS_MAX  256U
#define RECORD_TEXT_MAX	   256U /* of an event, NUL included */

/* But for parameters that are lists. docs/errors-and-limits.md says so. */
#define RECORD_BYTES_MAX (256U * 1024U)

struct record {
	struct migration_record data; /* owned */
	uint64_t start_ns;	      /* CLOCK_MONOTONIC, as all that follow */
	uint64_t waits_ns;	      /* it waits for its turn since then; 0: it does not */
	struct worker_pass_begin open; /* of the last of data.passes, while `is_open` */
	bool is_open;
	bool anew;  /* made by a daemon that found the migration, but no record of it */
	bool blind; /* taken over, and its worker did not say yet how things stand: the statistics are not this migration's */

	/* The recorder's. */
	uint64_t sample_every_ns, sampled_ns;
	uint64_t limited_us; /* of the statistics, when it looked last */
	uint64_t moved_bytes, moved_ns; /* something came through for the last time; 0: nothing has to */
	uint64_t looked_ns;
	uint64_t saved_ns;
	bool unsaved;
};

struct record *record_free(struct record *r);

/* M's status changed: `setup` begins its record. */
void record_status(struct migration *m);
/* A former daemon's: R (taken over, or NULL: there is none) is M's record. */
void record_take_over(struct migration *m, struct record *r);
/* Its worker told this daemon how things stand: what was missed is caught up with. */
void record_adopted(struct migration *m, const struct worker_adopt *a);

/* An event now; M may be NULL. */
void record_event(struct migration *m, enum record_event_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* What it decided, when it did so; again does nothing. */
void record_decision(struct migration *m, const struct migration_decision *d);
/* Where its handover stands; the same again does nothing. */
void record_handover(struct migration *m);
/* A pass begins. */
void record_pass(struct migration *m, const struct worker_pass *pass);
/* The other side's address. */
void record_peer(struct migration *m, const char *address);
/* The same, from a socket that is connected to it. */
void record_peer_of(struct migration *m, int fd);
/* It begins to wait for its turn, or its turn has come. */
void record_waits(struct migration *m, bool waits);

/* Append a sample of now; those before are thinned out if there are too many. The recorder's, and at the end. */
void record_sample(struct migration *m);
void record_stall(struct migration *m, uint64_t since_ns, uint64_t until_ns);

/* Bring m->record->data up to date: numbers, duration, error. */
void record_refresh(struct migration *m);

/* A migration of this status has ended. */
bool record_is_over(enum migration_status status);

/* Bytes of the stream, either way. */
uint64_t record_transferred(const struct migration *m);

/* Its beginning, as the history lists it; strings are borrowed. */
struct migration_history_entry record_entry(const struct migration_record *d);

#endif
