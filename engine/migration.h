/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One migration inside its worker. Two threads share it:
 *
 *   migration thread   runs engine/source.c or engine/target.c: the stream and the guest's library
 *   control thread     runs engine/control.c: the link to the daemon, whoever that is just now
 *
 * The members without a comment about threads are set before the migration thread starts and constant from then on.
 */
#ifndef MIGD_ENGINE_MIGRATION_H
#define MIGD_ENGINE_MIGRATION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "attach/handover.h"
#include "attach/mismatch.h"
#include "base/err.h"
#include "engine/configuration.h"
#include "engine/decisions.h"
#include "engine/link.h"
#include "engine/passes.h"
#include "engine/rate.h"
#include "engine/stats-page.h"
#include "engine/throttle.h"
#include "schema/types.h"
#include "transport/chan.h"

enum resolve {
	RESOLVE_NONE = 0,
	RESOLVE_RUN,
	RESOLVE_DISCARD,
};

/* Connections that the daemon passed on and nobody has looked at: as many as may wait in a reception. */
#define ARRIVALS_MAX 512U

/* A connection on which nothing comes for so long, where both sides can have another one, is given up: longer than a switch of routes takes. */
#define LINK_SILENCE_MS 10000

/* An address as text: a Unix socket's path, or less. */
#define CONNECTED_MAX 128U

/* What the control thread has yet to tell the daemon, in order. */
struct report;
struct credentials;

struct migration {
	struct worker_start start;
	int guest_fd;		/* the migration channel; the migration thread takes it */
	int stream_fd;		/* source: to write to; target: listening, or to read from; or -1 */
	int direct_fd;		/* a file's second descriptor, for direct I/O, or -1 */
	int adopt_fd;		/* listening in the state directory, or -1 */
	int decision_fd;	/* the guest's decision page, or -1 */
	int vmm_fd;		/* readable once the VMM is gone, or -1 */
	int userfaultfd;	/* of /dev/userfaultfd, or -1 */
	int stats_fd;
	struct stats_page *stats;
	struct credentials *credentials;	/* has locks of its own */

	int cancel_fd;		/* wake: the migration thread is to give up */
	int report_fd;		/* wake: the control thread has something to send */
	int told_fd;		/* wake: it has sent something */
	int answer_fd;		/* wake: the control thread has an answer for the migration thread */
	int pause_fd;		/* wake: migrate-pause came; drained by who gave the connection up */
	int arrival_fd;		/* wake: there are arrivals */

	/* Both threads, atomic. */
	struct rate rate;			/* its limit only */
	struct rate background;			/* the same, of post-copy: pages that nobody asked for */
	_Atomic uint64_t downtime_limit_ms;
	_Atomic uint64_t switchover_bps;	/* avail-switchover-bandwidth; 0: estimate */
	_Atomic uint64_t reconnect_timeout_ms;	/* after a lost connection; 0: there is no other one */
	_Atomic uint64_t postcopy_reconnect_timeout_ms; /* in post-copy; 0: for ever */
	_Atomic uint64_t reconnect_pause_max_ms;
	struct throttle_knobs throttle;
	_Atomic uint64_t xbzrle_cache_bytes;
	atomic_bool may_continue;		/* migrate-continue came */
	atomic_bool start_postcopy;		/* migrate-start-postcopy came */
	atomic_bool wants_connection;		/* a CONNECT is not answered yet */
	atomic_bool wants_publish;		/* a PUBLISH is not answered yet */
	_Atomic int resolve;			/* enum resolve */
	_Atomic uint32_t ticket;		/* of an ADMIT that waits for its answer; 0: none does */
	_Atomic uint32_t admitted;		/* the ticket of the last ADMITTED */
	uint32_t n_tickets;			/* migration thread */

	/* Both threads, under `lock`. */
	pthread_mutex_t lock;
	struct report *first, *last;		/* to be sent */
	unsigned int n_reports;			/* queued so far */
	atomic_uint n_told;			/* of them */
	enum migration_status status;
	struct merr error;
	bool has_handover;
	enum handover_state handover;
	bool in_doubt;
	uint8_t handover_id[ATTACH_ID_LEN];
	bool done;				/* the migration thread ended */
	bool guest_runs_here;
	struct decisions decisions;		/* those so far */
	struct passes passes;			/* the last ones */
	bool peer_waits;			/* a migd: from now on a successor has to tell it how it ended */
	char connected[CONNECTED_MAX];		/* target: its source's address; empty: there was none yet */
	struct mismatches *preflight;		/* what it found last; NULL: there was none */
	bool connection_answered;
	int connection_fd;			/* answer to CONNECT; -1: connection_error */
	struct merr connection_error;
	int recovery_fd;			/* of the last RECOVER that nobody took; -1: none */
	int arrivals[ARRIVALS_MAX];		/* in the order they came */
	unsigned int n_arrivals;
	int publish_fd;				/* what PUBLISH is about; -1: nothing to be found again */
	bool publish_answered;
	struct merr publish_error;
};

bool migration_has_capability(const struct migration *m, enum migration_capability c);
/*
 * What this side is able to, and wants: enum hello_feature. AGAIN: another connection to the peer, or from it, can be had.
 */
uint64_t migration_offers(const struct migration *m, bool again);
/* The stream is bidirectional; files, pipes and commands are not, nor is a background snapshot wherever it goes. */
bool migration_has_return_path(const struct migration *m);
/* What the stream's head says, or has to say, about this side's guest. */
struct configuration migration_configuration(const struct migration *m);
/* Take over new parameters; those that matter to a running migration take effect at once. Control thread. */
void migration_apply(struct migration *m, const struct migration_parameters *p);
/* What the host's budget leaves this migration, bytes/s; 0: no limit. Any thread. */
void migration_apply_share(struct migration *m, uint64_t bps);

/*
 * From the migration thread, for the daemon. Each is sent once, in this order, to whoever is the daemon then.
 * report_status(): all is well (again), an error of before is forgotten.
 */
void report_status(struct migration *m, enum migration_status status);
/* ERR stays with the migration; a failed or cancelled one says why. */
void report_error(struct migration *m, enum migration_status status, const struct merr *err);
void report_handover(struct migration *m, enum handover_state state, bool in_doubt);
/* The peer is a migd, and may wait for this side's word from now on, also if this worker dies. */
void report_peer_waits(struct migration *m);
/* Wait until all that was reported is on its way to the daemon, whatever becomes of this process; a second at most. */
void migration_flush_reports(struct migration *m);
/* Control thread: a report that was taken is on its way, or there is no daemon. */
void migration_note_told(struct migration *m);
/* FD's other end is the source: told from the next STATE on. Of a file there is none. */
void migration_note_source(struct migration *m, int fd);
void report_pass(struct migration *m, const struct pass_begin *pass);
void report_decision(struct migration *m, const struct decision *d);
/* The connection is lost, for WHY, or the last attempt to have another one; a source begins attempt ATTEMPT. */
void report_reconnect(struct migration *m, uint64_t attempt, const struct merr *why);
/* What keeps the guest from moving; none: all fits. */
void report_preflight(struct migration *m, const struct mismatches *found);
/* A handshake has a question: engine/credentials.h. Any thread. */
void report_question(struct migration *m);
/* The last word. */
void report_done(struct migration *m, bool guest_runs_here);

/*
 * Ask the daemon (this one or, if it is gone, the next) for a connection to the peer. 0: *ret_fd is the caller's;
 * -ECANCELED: a `migrate-resolve` came instead, or CANCEL_FD (-1: none) is readable; -ETIMEDOUT: no answer until DEADLINE_NS
 * (DEADLINE_NONE: waits as long as it takes); -ECONNREFUSED: nobody listens there; -EHOSTUNREACH: any other failure. ERR says why.
 */
int migration_connect(struct migration *m, int cancel_fd, uint64_t deadline_ns, int *ret_fd, struct merr *err);

/*
 * FD (taken over), a connection to the peer, as a channel on which the stream can begin: with TLS, after the handshake
 * (engine/open-channel.c). CANCEL_FD (-1: none) ends the wait, and later ones of the channel.
 */
int migration_channel(struct migration *m, int fd, int cancel_fd, struct chan **ret, struct merr *err);

/*
 * Before RELEASE: one more channel to the peer, ready to be written to (engine/open-channel.c). -ECANCELED by
 * migrate_cancel; else -errno with ERR. The caller's.
 */
int migration_open_channel(struct migration *m, struct chan **ret, struct merr *err);

/*
 * An operator's socket to go on over, which migration_connect() prefers to what it asked for, which migration_recover() takes over, in place of one that nobody took: control thread.
 * It wakes answer_fd. migration_take_recovery(): migration thread; the caller's; -1: none.
 */
void migration_recover(struct migration *m, int fd);
int migration_take_recovery(struct migration *m);

/*
 * A connection to the host's shared port, which migration_arrive() takes over: control thread. When too many wait, the one
 * that waits longest is dropped. migration_take_arrival(): migration thread; the caller's; -1: none.
 */
void migration_arrive(struct migration *m, int fd);
int migration_take_arrival(struct migration *m);

/*
 * Ask the daemon to publish what was written to FD (borrowed; -1: it is closed). 0: it is there to stay; -EAGAIN: not answered until DEADLINE_NS, ask again
 * or give up; else why not, in ERR. -ECANCELED.
 */
int migration_publish(struct migration *m, int fd, uint64_t deadline_ns, struct merr *err);

/*
 * Ask the daemon whether a source may begin (engine/turn.h): the question's ticket. Its answer, be it another daemon's, makes
 * migration_has_turn() true, and answer_fd readable. migration_leave_queue(): the source is gone.
 */
uint32_t migration_ask_turn(struct migration *m);
bool migration_has_turn(struct migration *m, uint32_t ticket);
void migration_leave_queue(struct migration *m);

/* The two directions' threads: they report everything, report_done() last. */
void source_run(struct migration *m);
void target_run(struct migration *m);

#endif
