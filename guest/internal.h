/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest, and what the service thread's files share.
 *
 * Theory of operation. Everything between migd_guest_start() and migd_guest_stop() happens on the
 * service thread (service.c): it polls the control connection, the migration channel and a wake-up
 * descriptor, dispatches messages through tables (control.c, migration.c; dispatch.h), runs timers
 * and finishes pauses (pause.c). Other threads touch only: the gate (its own lock), the dirty maps
 * (atomics), the handover state (atomic, read), `events` and `outcome` (the status lock). So
 * nothing else here needs a lock.
 *
 * Lock order: registration lock, status lock, gate lock; none is held across a callback or an ioctl
 * that can block.
 */
#ifndef MIGD_GUEST_INTERNAL_H
#define MIGD_GUEST_INTERNAL_H

#include <migd/guest.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "attach/conn.h"
#include "attach/proto.h"
#include "base/err.h"
#include "guest/cpr.h"
#include "guest/decision.h"
#include "guest/dirty-limit.h"
#include "guest/dirty-rate.h"
#include "guest/dirty.h"
#include "guest/gate.h"
#include "guest/hint.h"
#include "guest/poison.h"
#include "guest/live.h"
#include "guest/state.h"
#include "guest/tables.h"
#include "guest/uffd.h"
#include "guest/undo.h"

/* ---- the parts of a guest ---- */

/* A PAUSE or MIG_PAUSE that waits for the vCPUs. Service thread. */
struct pause_wait {
	bool pending;
	uint32_t seq; /* of the request to answer */
	uint32_t deadline_ms;
	uint64_t request_ns;
	uint64_t deadline_ns;
	enum migd_guest_run_state before;
};

/* Whether the stopped guest is quiesced. Service thread. */
struct settle {
	bool clock_stopped;
	bool quiesced;
	uint64_t next_kick_ns;
};

/* The control connection. Service thread. */
struct control {
	struct conn *conn; /* NULL: none */
	int listen_fd;     /* listen_path only, else -1 */
	uint64_t rests_until_ns; /* listen_fd is not looked at before; 0: it does not rest */
	bool attached;     /* HELLO was answered */
	uint32_t hello_seq;
	uint32_t epoch;    /* of the last attachment; 0: never attached */
	uint64_t retry_ns; /* when to connect again */
	uint64_t backoff_ns;
	uint64_t hello_deadline_ns;
	unsigned int lease_ms; /* what the daemon proposed; 0: nothing */
	struct pause_wait pause;
};

/* The migration channel. Service thread. */
struct migration {
	struct conn *conn;     /* NULL: none */
	bool opened_as_target; /* the role MIG_OPEN gave */
	bool is_target;        /* the role in the handover whose id is in the decision page */
	bool state_loaded;     /* STATE_LOAD or STATE_FEED_END succeeded */
	struct state_feed *feed; /* sections come piece by piece; NULL: not */
	uint64_t last_heard_ns;
	struct pause_wait pause;
	struct live_session live;
	struct undo undo; /* outlives the channel in RELEASED */
};

/*
 * What notify() and vCPU threads leave for the service thread to tell: a bit per enum attach_event.
 * Status lock.
 */
struct events {
	uint32_t pending;
	unsigned int vcpu; /* of the last VCPU_ERROR */
	int code;          /* likewise */
};

/*
 * What wait_active() and wait_gone() wait for. Status lock; written by the service thread when all
 * is done.
 */
struct outcome {
	bool active;
	bool retired;
	bool discarded;
};

/* What a worker leaves for its successor; kept until the next handover begins. Service thread. */
struct memo {
	uint8_t bytes[ATTACH_MEMO_MAX];
	uint32_t len;
};

struct throttle {
	unsigned int percent; /* 0: off */
	uint64_t running_since_ns; /* when the last hold ends or ended */
	uint64_t next_ns;          /* when the next one begins */
};

struct migd_guest {
	/* Fixed by migd_guest_new(). */
	char name[MIGD_GUEST_NAME_MAX];
	uint8_t uuid[ATTACH_ID_LEN];
	enum migd_guest_role role;
	char *attach_path;
	char *listen_path;
	unsigned int lease_ms; /* 0: as the daemon proposes */
	struct migd_guest_hooks hooks;
	void *opaque;

	pthread_mutex_t registration; /* tables and `started`, until started */
	bool kvm_set;
	bool started; /* written once, with every thread's view by the gate's lock */
	struct guest_tables tables;
	struct migd_guest_cpr *cpr; /* NULL: the memory is this VMM's own */

	struct hints hints;   /* any thread: hint.h */
	struct poison poison; /* any thread, by its own lock */
	struct gate gate;
	struct dirty dirty;
	struct decision decision;
	struct arch_state *arch;

	pthread_mutex_t status;
	pthread_cond_t status_changed;
	struct events events;
	struct outcome outcome;

	/* The service thread and what is its own. */
	pthread_t service;
	int wake_fd;
	bool has_service;
	struct control control;
	struct migration mig;
	struct settle settle;
	struct throttle throttle;
	struct dirty_rate rate;
	struct dirty_limit limit;
	struct uffd uffd;         /* outlives workers, as do the next two */
	struct received received;
	struct memo memo;
	uint8_t *body; /* ATTACH_BODY_MAX bytes: the reply being made */
};

/* ---- guest.c, error.c ---- */

/* Remember ERR's text for migd_guest_error() and return its code. */
int guest_fail(const struct merr *err);
/* The same with a text. */
int guest_failf(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* -EDEADLK if the calling thread is the service thread (a callback). */
int guest_refuse_callback(struct migd_guest *g);
void guest_log(struct migd_guest *g, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Call a hook that may be NULL. */
#define HOOK_INT(g, hook) ((g)->hooks.hook ? (g)->hooks.hook((g)->opaque) : 0)
#define HOOK_VOID(g, hook)                                                                         \
	do {                                                                                       \
		if ((g)->hooks.hook)                                                               \
			(g)->hooks.hook((g)->opaque);                                              \
	} while (0)

/* ---- run-state.c: any thread ---- */

enum migd_guest_run_state run_state_of(struct migd_guest *g);
/* Leave EVENT for the service thread. */
void events_raise(struct migd_guest *g, enum attach_event event);
void events_raise_vcpu(struct migd_guest *g, enum attach_event event, unsigned int index, int code);
/* Service thread: send what was raised. */
void events_flush(struct migd_guest *g);
/* Service thread: tell both connections. TEXT may be NULL. */
void events_send(struct migd_guest *g, enum attach_event event, uint64_t value, const char *text);
/* Service thread: let the waiters see what became of the guest. */
void outcome_publish(struct migd_guest *g);

/* ---- pause.c ---- */

/* Close the gate for REASON and wait, in W, for a reply when all vCPUs are parked. */
void pause_begin(struct migd_guest *g, struct pause_wait *w, unsigned int reason, uint32_t seq,
		 uint32_t deadline_ms);
/* Go on with what is pending: after each round of the service loop. */
void pause_poll(struct migd_guest *g, uint64_t now_ns);
uint64_t pause_deadline(const struct migd_guest *g);
/* Answer a pending pause with an error and take it back. */
void pause_cancel(struct migd_guest *g, struct pause_wait *w, const struct merr *why);
/* Lift REASON; if nothing else holds the guest: clock, devices, gate. */
void pause_lift(struct migd_guest *g, unsigned int reason);
/* On the target, right after LOADED > RUNNING: the same for the first time. */
void pause_activate(struct migd_guest *g);

/* ---- handover.c ---- */

/* Take everything back that is revocable in this state; WHY is for people. */
void handover_roll_back(struct migd_guest *g, const char *why);
/* Nothing has come yet, and nothing will: EMPTY becomes DISCARDED. WHY is for people. */
void handover_never_comes(struct migd_guest *g, const char *why);
/* The guest will not arrive: a target before RUNNING only. */
void handover_discard_at_exit(struct migd_guest *g);

/* ---- throttle.c ---- */

/* How long vCPUs that ran for RAN_NS are held, to be throttled by PERCENT (1 to 99). */
uint64_t throttle_hold_ns(unsigned int percent, uint64_t ran_ns);
void throttle_set(struct migd_guest *g, unsigned int percent);
void throttle_off(struct migd_guest *g);
void throttle_tick(struct migd_guest *g, uint64_t now_ns);
uint64_t throttle_deadline(const struct migd_guest *g);

/* ---- control.c ---- */

int control_init(struct migd_guest *g, struct merr *err);
void control_done(struct migd_guest *g);
void control_tick(struct migd_guest *g, uint64_t now_ns);
uint64_t control_deadline(const struct migd_guest *g);
void control_readable(struct migd_guest *g);
void control_acceptable(struct migd_guest *g);
/* Where daemons come in: the descriptor to watch, -1 while it rests, and when that ends. */
int control_listen_fd(const struct migd_guest *g);
uint64_t control_listen_deadline(const struct migd_guest *g);
void control_listen_tick(struct migd_guest *g, uint64_t now_ns);
void control_drop(struct migd_guest *g, const char *why);

/* ---- migration.c ---- */

/* Take over FD as the migration channel. */
int migration_open(struct migd_guest *g, int fd, struct merr *err);
void migration_readable(struct migd_guest *g);
/* The channel is gone or was misused: roll back and close it. */
void migration_drop(struct migd_guest *g, const char *why);
uint64_t migration_deadline(const struct migd_guest *g);
void migration_tick(struct migd_guest *g, uint64_t now_ns);

/* ---- service.c ---- */

int service_start(struct migd_guest *g, struct merr *err);
void service_wake(struct migd_guest *g);
void service_join(struct migd_guest *g);

/* ---- tables.c ---- */

/* Sort, check completeness, freeze. */
int tables_freeze(struct migd_guest *g, struct merr *err);
void tables_done(struct guest_tables *t);
/* Every table call begins so: not from a callback, not after start, KVM first. Lock held. */
int tables_check_open(struct migd_guest *g, bool needs_kvm, struct merr *err);
int tables_check_name(const char *what, const char *name, struct merr *err);

/* ---- devices.c ---- */

/* Into saving order. */
void devices_sort(struct guest_tables *t);
void devices_done(struct guest_tables *t);

#endif
