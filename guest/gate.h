/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate in front of KVM_RUN: vCPU threads run the guest through it and park in it.
 *
 * It is closed for reasons, a bit each, and open when there is none. Whoever closes it sets the
 * bit, sets run->immediate_exit of each vCPU that is not parked, and kicks its thread; the flag
 * covers a kick that arrives before KVM_RUN, the signal one that arrives inside. A vCPU that finds
 * the gate closed lets KVM finish the I/O instruction whose exit the VMM handled last (one more
 * KVM_RUN with immediate_exit: EINTR says that it is finished, another exit goes to the VMM first),
 * and only then parks. immediate_exit is cleared by the vCPU thread alone, before it looks at the
 * reasons.
 *
 * A kick can be eaten by a system call of the VMM's device code: who waits for vCPUs to park kicks
 * again every GATE_REKICK_NS.
 *
 * Lock order: the gate's lock is a leaf. No callback runs under it.
 */
#ifndef MIGD_GUEST_GATE_H
#define MIGD_GUEST_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"

/*
 * A few milliseconds: late enough not to matter, soon enough that nobody notices an eaten signal.
 */
#define GATE_REKICK_NS (5 * NS_PER_MS)

enum gate_reason {
	GATE_NOT_STARTED = 1 << 0,
	GATE_USER = 1 << 1,      /* stop, by an operator */
	GATE_MIGRATION = 1 << 2, /* PAUSED, RELEASED, RETIRED */
	GATE_AWAY = 1 << 3,      /* incoming: no guest here yet, or discarded */
	GATE_SHUTDOWN = 1 << 4,
	GATE_PANICKED = 1 << 5,
	GATE_SUSPENDED = 1 << 6,
	GATE_PROBE = 1 << 7, /* for the moment it takes to read what a running vCPU is like */
	/* Those that the service thread sets and lifts, with the devices quiesced in between. */
	GATE_HELD = GATE_NOT_STARTED | GATE_USER | GATE_MIGRATION | GATE_AWAY,
	GATE_DEAD = GATE_SHUTDOWN | GATE_PANICKED,
};

struct dirty_ring;
struct gate;
struct kvm_run;

/* One vCPU. Fields without a remark are fixed when it is made. */
struct migd_guest_vcpu {
	struct gate *gate;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	pid_t tid;
	struct dirty_ring *ring; /* NULL: the VM has none */
	bool parked;             /* under the gate's lock; read without it by kicks */
	uint64_t hold_until_ns;  /* atomic: gate_hold_vcpu() */
	uint64_t held_ns;        /* atomic: it was held so long, altogether */
	bool io_pending;         /* own thread: the last KVM_RUN gave an exit to the VMM */
	unsigned int
		empty_full_exits; /* own thread: ring exits with nothing to harvest, in a row */
};

/*
 * What the gate needs from the guest. All are called on vCPU threads or by whoever closes the gate.
 */
struct gate_ops {
	/* NULL: signal. */
	void (*kick)(void *opaque, unsigned int index, int tid);
	/* The last vCPU parked. */
	void (*all_parked)(void *opaque);
	/* The dirty ring of VCPU is full: harvest; entries harvested, or -errno. */
	int (*ring_full)(void *opaque, struct migd_guest_vcpu *vcpu);
	/* It stays full with nothing to harvest: entries are lost. */
	void (*ring_broken)(void *opaque, struct migd_guest_vcpu *vcpu);
	/* KVM_RUN failed with CODE. */
	void (*vcpu_error)(void *opaque, struct migd_guest_vcpu *vcpu, int code);
	void *opaque; /* of all but kick */
	void *kick_opaque;
};

struct gate {
	struct gate_ops ops;
	int kick_signal;
	pthread_mutex_t lock;
	pthread_cond_t changed;         /* reasons, quit, n_parked, hold_until_ns */
	unsigned int reasons;           /* written under the lock, read anywhere */
	bool quit;                      /* likewise */
	uint64_t hold_until_ns;         /* likewise: throttling, see gate_hold() */
	struct migd_guest_vcpu **vcpus; /* fixed once started */
	size_t n_vcpus;
	size_t n_parked; /* under the lock */
};

int gate_init(struct gate *g, const struct gate_ops *ops, int kick_signal);
void gate_done(struct gate *g); /* frees the vCPUs too */

/* Take over VCPU (heap). Registration only. */
int gate_add_vcpu(struct gate *g, struct migd_guest_vcpu *vcpu);

unsigned int gate_reasons(const struct gate *g);
/* Close for REASON and kick. Any thread. */
void gate_close(struct gate *g, unsigned int reason);
/* Lift REASON; vCPUs go on if it was the last one. Any thread. */
void gate_open(struct gate *g, unsigned int reason);
/* vCPUs leave with -ECANCELED, for good. */
void gate_quit(struct gate *g);
bool gate_has_quit(const struct gate *g);

bool gate_all_parked(struct gate *g);
/* Kick who is not parked yet. */
void gate_kick(struct gate *g);
/* The index of a vCPU that is not parked, or -1. */
int gate_straggler(struct gate *g);
/* Wait, kicking, until all are parked: 0, -ETIMEDOUT or -ECANCELED (quit). */
int gate_wait_parked(struct gate *g, uint64_t deadline_ns);

/* Throttling: no vCPU enters KVM_RUN before UNTIL_NS; those inside are kicked. 0 lets them go. */
void gate_hold(struct gate *g, uint64_t until_ns);

/* The same for one vCPU. Any thread; of V's own, KICK is needless. */
void gate_hold_vcpu(struct migd_guest_vcpu *v, uint64_t until_ns, bool kick);

/* migd_guest_vcpu_run(). */
int gate_run(struct migd_guest_vcpu *vcpu);

#endif
