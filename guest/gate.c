/* SPDX-License-Identifier: Apache-2.0 */
/* The gate in front of KVM_RUN; theory of operation in gate.h. */
#include "guest/gate.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/*
 * A full ring gave nothing so often in a row: entries are lost and KVM will say "full" for ever. A
 * working ring needs one retry, when another thread harvested between the exit and us.
 */
#define RING_EMPTY_EXITS_MAX 64
/* Then wait so long between tries, instead of spinning until the migration is given up. */
#define RING_BROKEN_WAIT_NS NS_PER_MS

static void kick_signal_handler(int sig)
{
	(void)sig; /* its arrival is its message: KVM_RUN returns EINTR */
}

static int install_handler(int sig)
{
	struct sigaction sa = { .sa_handler = kick_signal_handler };

	(void)sigemptyset(&sa.sa_mask);
	return sigaction(sig, &sa, NULL) < 0 ? -errno : 0;
}

int gate_init(struct gate *g, const struct gate_ops *ops, int kick_signal)
{
	pthread_condattr_t attr;

	*g = (struct gate){ .ops = *ops, .kick_signal = kick_signal, .reasons = GATE_NOT_STARTED };
	(void)pthread_mutex_init(&g->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&g->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	return ops->kick ? 0 : install_handler(kick_signal);
}

void gate_done(struct gate *g)
{
	for (size_t i = 0; i < g->n_vcpus; i++)
		free(g->vcpus[i]);
	free(g->vcpus);
	(void)pthread_cond_destroy(&g->changed);
	(void)pthread_mutex_destroy(&g->lock);
}

int gate_add_vcpu(struct gate *g, struct migd_guest_vcpu *vcpu)
{
	struct migd_guest_vcpu **grown;
	sigset_t set;

	grown = reallocarray(g->vcpus, g->n_vcpus + 1, sizeof(struct migd_guest_vcpu *));
	if (!grown)
		return -ENOMEM;
	g->vcpus = grown;
	vcpu->gate = g;
	vcpu->tid = gettid();
	if (!g->ops.kick) {
		(void)sigemptyset(&set);
		(void)sigaddset(&set, g->kick_signal);
		(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	}
	g->vcpus[g->n_vcpus++] = vcpu;
	return 0;
}

/* ---- closing and opening ---- */

unsigned int gate_reasons(const struct gate *g)
{
	return __atomic_load_n(&g->reasons, __ATOMIC_SEQ_CST);
}

bool gate_has_quit(const struct gate *g)
{
	return __atomic_load_n(&g->quit, __ATOMIC_SEQ_CST);
}

static void set_immediate_exit(struct migd_guest_vcpu *v, uint8_t on)
{
	__atomic_store_n(&v->run->immediate_exit, on, __ATOMIC_SEQ_CST);
}

static void kick_vcpu(struct migd_guest_vcpu *v)
{
	const struct gate *g = v->gate;

	if (__atomic_load_n(&v->parked, __ATOMIC_SEQ_CST))
		return;
	set_immediate_exit(v, 1);
	if (g->ops.kick)
		g->ops.kick(g->ops.kick_opaque, v->index, v->tid);
	else
		(void)syscall(SYS_tgkill, getpid(), v->tid, g->kick_signal);
}

void gate_kick(struct gate *g)
{
	for (size_t i = 0; i < g->n_vcpus; i++)
		kick_vcpu(g->vcpus[i]);
}

void gate_close(struct gate *g, unsigned int reason)
{
	(void)pthread_mutex_lock(&g->lock);
	__atomic_store_n(&g->reasons, g->reasons | reason, __ATOMIC_SEQ_CST);
	(void)pthread_cond_broadcast(&g->changed);
	(void)pthread_mutex_unlock(&g->lock);
	gate_kick(g);
}

void gate_open(struct gate *g, unsigned int reason)
{
	LOCK_SCOPE(&g->lock);

	__atomic_store_n(&g->reasons, g->reasons & ~reason, __ATOMIC_SEQ_CST);
	(void)pthread_cond_broadcast(&g->changed);
}

void gate_quit(struct gate *g)
{
	(void)pthread_mutex_lock(&g->lock);
	__atomic_store_n(&g->quit, true, __ATOMIC_SEQ_CST);
	(void)pthread_cond_broadcast(&g->changed);
	(void)pthread_mutex_unlock(&g->lock);
	gate_kick(g);
}

void gate_hold(struct gate *g, uint64_t until_ns)
{
	(void)pthread_mutex_lock(&g->lock);
	__atomic_store_n(&g->hold_until_ns, until_ns, __ATOMIC_SEQ_CST);
	(void)pthread_cond_broadcast(&g->changed);
	(void)pthread_mutex_unlock(&g->lock);
	if (until_ns)
		gate_kick(g);
}

void gate_hold_vcpu(struct migd_guest_vcpu *v, uint64_t until_ns, bool kick)
{
	(void)pthread_mutex_lock(&v->gate->lock);
	__atomic_store_n(&v->hold_until_ns, until_ns, __ATOMIC_SEQ_CST);
	(void)pthread_cond_broadcast(&v->gate->changed);
	(void)pthread_mutex_unlock(&v->gate->lock);
	if (kick && until_ns)
		kick_vcpu(v);
}

/* ---- waiting for vCPUs ---- */

bool gate_all_parked(struct gate *g)
{
	LOCK_SCOPE(&g->lock);

	return g->n_parked == g->n_vcpus;
}

int gate_straggler(struct gate *g)
{
	LOCK_SCOPE(&g->lock);

	for (size_t i = 0; i < g->n_vcpus; i++)
		if (!g->vcpus[i]->parked)
			return (int)g->vcpus[i]->index;
	return -1;
}

static void wait_until(struct gate *g, uint64_t until_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(until_ns / NS_PER_SEC),
			       .tv_nsec = (long)(until_ns % NS_PER_SEC) };

	(void)pthread_cond_timedwait(&g->changed, &g->lock, &ts);
}

int gate_wait_parked(struct gate *g, uint64_t deadline_ns)
{
	uint64_t now;

	while (!gate_all_parked(g)) {
		now = clock_now_ns();
		if (gate_has_quit(g))
			return -ECANCELED;
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		(void)pthread_mutex_lock(&g->lock);
		if (g->n_parked != g->n_vcpus && !g->quit)
			wait_until(g, now + GATE_REKICK_NS);
		(void)pthread_mutex_unlock(&g->lock);
		gate_kick(g);
	}
	return 0;
}

/* ---- the vCPU's side ---- */

/* Park until the gate opens: 0, or -ECANCELED (quit). */
static int park(struct migd_guest_vcpu *v)
{
	struct gate *g = v->gate;
	bool last;

	(void)pthread_mutex_lock(&g->lock);
	__atomic_store_n(&v->parked, true, __ATOMIC_SEQ_CST);
	last = ++g->n_parked == g->n_vcpus;
	if (last) {
		(void)pthread_cond_broadcast(&g->changed);
		(void)pthread_mutex_unlock(&g->lock);
		g->ops.all_parked(g->ops.opaque);
		(void)pthread_mutex_lock(&g->lock);
	}
	while (g->reasons && !g->quit)
		(void)pthread_cond_wait(&g->changed, &g->lock);
	__atomic_store_n(&v->parked, false, __ATOMIC_SEQ_CST);
	g->n_parked--;
	(void)pthread_mutex_unlock(&g->lock);
	return gate_has_quit(g) ? -ECANCELED : 0;
}

/* Enter KVM. 0: an exit for the VMM; -EINTR; or what KVM said. */
static int run_kvm(struct migd_guest_vcpu *v)
{
	int r = ioctl(v->fd, KVM_RUN, 0) < 0 ? -errno : 0;

	v->io_pending = r == 0;
	return r == -EAGAIN ? -EINTR : r;
}

/*
 * The gate is closed: finish the last exit's instruction, then park. 0: parked and left again; 1:
 * there is an exit for the VMM first; -ECANCELED: quit.
 */
static int stop_here(struct migd_guest_vcpu *v)
{
	if (v->io_pending && !gate_has_quit(v->gate)) {
		set_immediate_exit(v, 1);
		/*
		 * An error other than EINTR is the vCPU's end, not a reason to run on: the guest
		 * cannot use what KVM could not finish, and the VMM was told, or will be at the
		 * next run.
		 */
		if (run_kvm(v) == 0)
			return 1;
	}
	return park(v);
}

/* Throttled: stay out of KVM until the hold is over or the gate closes. */
static void wait_hold(struct migd_guest_vcpu *v)
{
	struct gate *g = v->gate;
	LOCK_SCOPE(&g->lock);
	uint64_t began = clock_now_ns(), now = began, until;

	for (;; now = clock_now_ns()) {
		until = max_u64(g->hold_until_ns, v->hold_until_ns);
		if (g->reasons || g->quit || until <= now)
			break;
		wait_until(g, until);
	}
	(void)__atomic_fetch_add(&v->held_ns, now - began, __ATOMIC_RELAXED);
}

static void wait_short(struct gate *g)
{
	LOCK_SCOPE(&g->lock);

	if (!g->reasons && !g->quit)
		wait_until(g, clock_now_ns() + RING_BROKEN_WAIT_NS);
}

/* The ring was full: make room. The exit is ours, the VMM never sees it. */
static void handle_ring_full(struct migd_guest_vcpu *v)
{
	struct gate *g = v->gate;

	v->io_pending = false;
	if (g->ops.ring_full(g->ops.opaque, v) != 0) {
		v->empty_full_exits = 0;
		return;
	}
	if (++v->empty_full_exits == RING_EMPTY_EXITS_MAX)
		g->ops.ring_broken(g->ops.opaque, v);
	if (v->empty_full_exits >= RING_EMPTY_EXITS_MAX)
		wait_short(g);
}

int gate_run(struct migd_guest_vcpu *v)
{
	struct gate *g = v->gate;
	int r;

	for (;;) {
		/* Before the look at the reasons: a kick that follows sets it again. */
		if (__atomic_load_n(&v->run->immediate_exit, __ATOMIC_SEQ_CST))
			set_immediate_exit(v, 0);
		if (gate_has_quit(g))
			return -ECANCELED;
		if (gate_reasons(g)) {
			r = stop_here(v);
			/*
			 * Parked, and on again: the VMM may have had a signal of its own meanwhile.
			 */
			return r == 0 ? -EINTR : r == 1 ? 0 : r;
		}
		if (__atomic_load_n(&g->hold_until_ns, __ATOMIC_RELAXED) ||
		    __atomic_load_n(&v->hold_until_ns, __ATOMIC_RELAXED))
			wait_hold(v);
		r = run_kvm(v);
		if (r == 0 && v->run->exit_reason == KVM_EXIT_DIRTY_RING_FULL) {
			handle_ring_full(v);
			continue;
		}
		if (r == -EINTR && gate_reasons(g))
			continue;
		if (r != 0 && r != -EINTR)
			g->ops.vcpu_error(g->ops.opaque, v, r);
		return r;
	}
}
