/* SPDX-License-Identifier: Apache-2.0 */
/* The incoming side's state, shared by its phases: engine/target.c up to LOADED, engine/target-settle.c from there on. */
#ifndef MIGD_ENGINE_TARGET_H
#define MIGD_ENGINE_TARGET_H

#include "base/budget.h"
#include "engine/globalstate.h"
#include "engine/guest-link.h"
#include "engine/handler.h"
#include "engine/lazy-restore.h"
#include "engine/live.h"
#include "engine/migration.h"
#include "engine/opening.h"
#include "engine/postcopy-target.h"
#include "engine/ram-target.h"
#include "engine/reception.h"

/* Migration thread only. */
struct target {
	struct migration *m;
	struct guest_link guest;
	struct ram ram;
	struct handlers handlers;	/* all that comes in sections, but for the library's */
	struct ram_target receiver;
	struct live live;		/* the VMM's large devices */
	struct globalstate run_state;
	struct multifd_target *multifd;	/* its channels; NULL: there are none */
	struct postcopy_target *postcopy;	/* NULL: it was not announced */
	struct lazy_restore *lazy;	/* a file's pages are read while the guest runs; NULL: before */
	struct reception *reception;	/* of connections that nobody knows yet */
	struct merr refusal;		/* why the last of them was refused */
	struct budget told;		/* of refusals, to the daemon */
	struct chan *chan;
	struct in *in;
	struct hello hello;
	bool begun;		/* the library is INCOMING, or further */
	struct target_connection *next;	/* the source has come back already; NULL: not */
	bool switchover_acked;	/* engine/switchover-ack.h */
	bool state_given;	/* the package came, and the library took its sections */
	bool state_fed;		/* sections of the library's came unpackaged */
	struct {
		uint64_t since_ns, bytes, most_ns;
	} silence;		/* engine/urgent-channel.c */
	uint64_t mark_ns;	/* the end of the last measured part of the blackout; 0: none began */
	uint64_t load_us;	/* what that took */
	struct merr err;
};

/* A connection whose opening was received. IN's errors go to ERR. */
struct target_connection {
	struct chan *chan;
	struct in *in;
	struct hello hello;
	uint16_t command;	/* what it is about, once that was read */
};

/*
 * Take a main connection from the reception and go through its opening. 0: *RET is the caller's; else it was refused, or WHY tells
 * why no other is waited for. target_use(): it is the target's from here on, in place of the one there was.
 */
int target_open(struct target *t, int cancel_fd, struct target_connection *ret, struct merr *why);
void target_use(struct target *t, const struct target_connection *c);

/*
 * Wait until a main connection may be taken. CANCEL_FD, the guest's events and DEADLINE_NS end it: -errno with the target's error;
 * -ETIMEDOUT has none. A target that nobody can reach any more has its last refusal as error.
 */
int target_await_arrival(struct target *t, uint64_t deadline_ns);

/*
 * Both at once. 0: it is the target's connection now, in place of the one there was;
 * else that one stays. CANCEL_FD ends what is read from it, now and later: -ECANCELED. Else -EAGAIN.
 */
int target_accept(struct target *t, int cancel_fd);
/* Give a connection that is not wanted the reason, into the log and query-migrate as well. */
void target_refuse(struct target *t, struct chan *chan, struct merr *why);
void target_disconnect(struct target *t);
/* Tell the source the target's error, and let it read that before it sees the connection reset: 2 s at most. */
void target_say_goodbye(struct target *t);

/* A connection is dropped, and the migration goes on: into the log and query-migrate. WHY is changed. */
void target_note_refusal(void *target, struct merr *why);

/* Microseconds since the last mark of the blackout, which is set anew; 0 if there was none. */
uint64_t target_lap_us(struct target *t);

/*
 * Pre-copy that goes on over another connection: engine/target-resume.c. target_resume_prepare(): before the stream.
 * target_resume(): it failed with R: 0: the connection was lost, and the source came back over another one, which is the
 * target's now; else the error that ends the migration.
 */
void target_resume_prepare(struct target *t);
int target_resume(struct target *t, int r);
void target_resume_done(struct target *t);

/* A source that sends nothing for so long, while it should, is taken for dead. */
#define TARGET_IDLE_TIMEOUT_MS 60000
/* One that sends nothing for so long may have lost this connection, and be at the door. */
#define TARGET_LOOK_MS 1000

/*
 * Everything from the description up to the stream's EOF, or, in post-copy, the end of the package: engine/target-stream.c.
 */
int target_receive_stream(struct target *t);
/* Its next section or command. 1: that was its end, or the package of post-copy; 0: more comes; -errno. */
int target_receive_one(struct target *t);

/* The same where nothing but pages may come: post-copy, before the guest runs. */
int target_receive_pages(struct target *t);

/* No page comes over parallel channels any more; what came that no sync point counted is refused. */
int target_end_channels(struct target *t);

/*
 * Loaded, from a source that is no migd: run it, and tell the source. 0: it runs here. -errno: it does not, and the source
 * is still to be told. engine/target-alone.c.
 */
int target_take_over(struct target *t);

/* Make the library run the guest, for good. *ret_us: what that took. engine/target-alone.c. */
int target_call_activate(struct target *t, uint64_t *ret_us);

/*
 * LOADED, or RUNNING, or whatever a successor finds: stay until both sides know who runs the guest. True: it runs here.
 */
bool target_settle(struct target *t, bool runs);

/*
 * Discarded, for the connection was lost in the switchover: the source cannot know that it was not LOADED, and comes to say
 * that it goes on. It is waited for, not for long.
 */
void target_settle_discarded(struct target *t);
/* The same, by a successor of the worker that was lost, without the VMM: a source that was told LOADED may come much later. */
void target_abort_only(struct target *t);

#endif
