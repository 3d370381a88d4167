/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's migration as the daemon sees it: where it stands, why, its numbers, and what carries it
 * out. The worker knows the stream, the library decides who runs; the daemon records, tells, and
 * replaces what dies.
 *
 *   daemon/outgoing.c   from `migrate` to a running worker
 *   daemon/incoming.c   the same from `migrate-incoming`
 *   daemon/link.c       what a worker says
 *   daemon/settle.c     when a worker is missing
 */
#ifndef MIGD_DAEMON_MIGRATION_H
#define MIGD_DAEMON_MIGRATION_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "attach/proto.h"
#include "base/err.h"
#include "daemon/shares.h"
#include "engine/stats-page.h"
#include "schema/types.h"
#include "transport/addr.h"

struct log_scope;
struct cpr;
struct dial;
struct foretelling;
struct guest;
struct migration_tls;
struct publication;
struct qmp_call;
struct record;
struct worker;

#define ID_TEXT_LEN (2 * ATTACH_ID_LEN + 1)

struct migration {
	TAILQ_ENTRY(migration) entry; /* in the guest's `lingering` */
	struct guest *guest;
	enum worker_direction direction;
	enum worker_mode mode; /* of the worker that runs or is to be started */
	char id[ID_TEXT_LEN];
	char handover_id[ID_TEXT_LEN]; /* incoming: zeros until the source said it */
	struct addr addr;
	char *uri; /* as the operator gave it */

	enum mig_mode mig_mode; /* as it was at `migrate` */
	struct cpr *cpr;        /* cpr-transfer: the new VMM is awaited */

	enum migration_status status; /* by migration_set_status() only */
	struct merr error;            /* query-migrate's error-desc */
	bool error_is_final;          /* the worker's texts do not replace it any more */
	bool has_handover;
	enum handover_phase phase; /* with has_handover */
	bool in_doubt;
	char *peer;
	bool peer_waits; /* for this side's word, by a successor if need be: a source that may ask, a target for COMMIT */
	bool preflight_only; /* outgoing: nothing is to move */
	bool lazy;           /* incoming: the guest runs before all of its memory was read from its file */
	bool exit_on_error;  /* incoming: a failure ends the VMM */
	bool allow_weak_handover; /* outgoing: a running guest may go where nobody answers */
	bool start_remote;   /* outgoing: its guest is announced before it goes */
	bool start_postcopy; /* outgoing: migrate-start-postcopy came */
	enum migration_strategy strategy; /* outgoing */
	uint64_t deadline_ms;             /* outgoing: since it began; 0: none */
	struct migration_decision *decisions; /* daemon/decisions.h */
	size_t n_decisions;

	bool waits;	     /* for its turn (daemon/queue.h) */
	uint64_t arrival;    /* its number in the queue; 0: it never was there */
	uint32_t ticket;     /* incoming: of its worker's ADMIT; 0: no source is there */
	int priority;	     /* PRIORITY_MIN to PRIORITY_MAX (daemon/budget.h): higher first */
	struct share share;  /* of the host's bandwidth */

	struct stats_page *stats;
	int stats_fd;
	struct record *record; /* daemon/record.h; NULL: none, or it is the history's */

	struct worker *worker; /* NULL: none runs */
	struct dial *dial;     /* a connection is being made */
	struct foretelling *foretelling; /* its guest is being announced */
	struct dial *recovery_dial;     /* the same for an operator's recovery (daemon/recovery.h) */
	struct qmp_call *recovery_call; /* migrate-recover: to be answered when it listens */
	int stream_fd;         /* for the worker's START; -1: it asks for one. Lazy: kept for successors */
	int direct_fd;         /* a file's second descriptor, for direct I/O; -1: none. Likewise */
	bool reopened;         /* lazy: stream_fd is by another daemon than the first one: for one worker only */
	bool return_path;      /* the stream is bidirectional */
	struct publication *publication; /* of a stream to a file or a command; or NULL */
	struct migration_tls *tls; /* daemon/tls.h; NULL: it is not encrypted, or that is not decided */
	bool tls_decided;
	bool publishes; /* outgoing: what was written counts once that is published */
	int library_fd;        /* the worker's end of the migration channel, until START */
	int listen_fd; /* incoming: kept for successors, so that a peer that comes back is not
			  refused */
	struct addr listen_addr; /* with the real port */
	bool has_listen_addr;
	unsigned int dial_failures; /* in a row; the back-off follows */
	uint64_t dial_answered_ns; /* when the worker was last told what became of a connection */
	unsigned int n_successors;
	struct event *timer; /* the next attempt, or the end of patience */
	bool journaled;      /* there is a file in the state directory */

	/* The worker got its START (ERR is NULL), or could not be started; see daemon/start.h. */
	void (*on_started)(struct migration *m, const struct merr *err);
	/* Incoming: told once when the worker runs, or why it does not (daemon/incoming.h); the descriptors of whose session. */
	void (*on_armed)(void *opaque, const struct merr *err);
	void *on_armed_opaque;
	struct qmp_call *call; /* with on_armed; borrowed from whoever is told */
	bool orphaned;         /* its worker died: daemon/settle.h is at it */
	uint64_t lost_ns;      /* orphaned: since when, or since the last attempt to replace it */
	bool adopting;         /* its worker was found by this daemon, and has not said ADOPT yet */
};

/* A new one for G with its statistics, state `none`. It does not become g->migration. */
int migration_new(struct guest *g, enum worker_direction direction, const char *uri,
		  const struct addr *addr, struct migration **ret, struct merr *err);
struct migration *migration_free(struct migration *m);

/*
 * Put M in the place of G's last one, which must be over. That is freed, or lingers until its
 * worker has told the peer what there is to tell.
 */
void migration_install(struct guest *g, struct migration *m);

/* True in QMP.md 5's running set: refuses a new one, and changes of capabilities. M may be NULL. */
/* Log lines are about M and its guest until S is left (base/log.h). */
void migration_log_scope(struct log_scope *s, const struct migration *m);

bool migration_running(const struct migration *m);

/* True for the five states of post-copy: between the two sides there is one guest, and each has a part of its memory. */
bool migration_is_postcopy(enum migration_status status);
/* M is in one of them. M may be NULL. */
bool migration_in_postcopy(const struct migration *m);

/*
 * True if STATUS may still come from M's worker: while it runs, or when it completed and the program of cpr-exec could not
 * be executed after all.
 */
bool migration_takes_status(const struct migration *m, enum migration_status status);

/* True when nothing remains to be done: it ended, and no worker has to tell the peer so. */
bool migration_settled(const struct migration *m);

/*
 * The one place where a status changes: checked against the table of legal moves, logged, told as
 * MIGRATION. -EINVAL for a move that does not exist (nothing changes); the same status again is no
 * move, and 0.
 */
int migration_set_status(struct migration *m, enum migration_status status);

/* It ended without, or before, a worker's own word: records ERR, sets the status. */
void migration_end(struct migration *m, enum migration_status status, const struct merr *err);

/* The same, and nothing is left to be done: frees what carried it out. */
void migration_finish(struct migration *m, enum migration_status status, const struct merr *err);

/* A successor of M's worker has a word to say to the peer, or no more; the next daemon is to know that. */
/* It is in post-copy, which whoever was to say so did not live to say. */
void migration_enter_postcopy(struct migration *m);
void migration_note_peer_waits(struct migration *m, bool waits);

/* The first error stays. */
void migration_note_error(struct migration *m, const char *text);

/*
 * Note, and tell as MIGRATION_HANDOVER, where the handover stands. Nothing happens if nothing
 * changed.
 */
void migration_set_handover(struct migration *m, const char *id, enum handover_phase phase,
			    const char *peer, bool in_doubt);

/* Fill *RET (freed with handover_info_done()). -ENOENT: there is no handover yet. */
int migration_handover_info(const struct migration *m, struct handover_info *ret);

/*
 * The phase of the guest that M moves: from its decision page, if that is about M; else where M
 * begins.
 */
enum handover_phase migration_phase(const struct migration *m);

/* The guest's state or connection changed: see whether its migration has something to do. */
void migration_guest_changed(struct guest *g);

/*
 * M is over and its worker gone. Frees M if it lingered, and the guest's record if nothing else
 * needs that.
 */
void migration_retire(struct migration *m);

/* Close descriptors, timers, dials, and the journal; the worker is left alone. */
void migration_release(struct migration *m);

/* query-migrate's numbers. */
int migration_info(const struct guest *g, struct migration_info *ret);
/* Those of memory; outgoing. */
void migration_ram(const struct migration *m, struct migration_stats *ret);

#endif
