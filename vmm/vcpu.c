/* SPDX-License-Identifier: Apache-2.0 */
/* vCPU threads: their life, and how a reset gets hold of all of them. */
#include "vmm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmm/control.h"
#include "vmm/machine.h"
#include "vmm/reset.h"
#include "vmm/util.h"

/* Interrupts KVM_RUN and sem_wait(), as the library's own SIGRTMIN+1 does. */
#define KICK_SIGNAL (SIGRTMIN + 2)
#define JOIN_KICK_NS 2000000
/* 2 s: a vCPU that does not leave by then waits for something else than the kick. */
#define JOIN_KICKS_MAX 1000

struct vcpus {
	struct machine *machine;
	unsigned int n;
	struct vcpu *v;
	pthread_mutex_t lock;	/* of the rest */
	pthread_cond_t changed;
	unsigned int n_registered;
	int error;		/* of one that could not be set up */
	bool go, leave;
	unsigned int n_held;
	bool resetting;		/* nobody leaves the hold */
	uint64_t n_resets;
	struct boot_entry entry;
	bool enter;		/* the last reset has an entry */
};

static void ignore_signal(int sig)
{
	(void)sig;
}

/* Whether a held vCPU has to go on waiting. Locked. */
static bool hold_lasts(const struct vcpu *v, bool interrupted)
{
	const struct vcpus *all = v->all;
	if (all->leave || v->n_resets != all->n_resets)
		return false;
	return all->resetting || (!interrupted && reset_pending(v->machine->reset));
}

/*
 * Wait for a reset to be carried out. A signal ends the wait while the reset has not begun: it may be the library's, which
 * wants us in its gate.
 */
static void hold(struct vcpu *v)
{
	struct vcpus *all = v->all;
	bool interrupted = false;
	(void)pthread_mutex_lock(&all->lock);
	v->held = true;
	if (++all->n_held == all->n)
		control_wake(v->machine->control);
	while (hold_lasts(v, interrupted)) {
		(void)pthread_mutex_unlock(&all->lock);
		interrupted = sem_wait(&v->wake) < 0 && errno == EINTR;
		(void)pthread_mutex_lock(&all->lock);
	}
	v->held = false;
	all->n_held--;
	bool enter = v->n_resets != all->n_resets && all->enter;
	v->n_resets = all->n_resets;
	struct boot_entry entry = all->entry;
	(void)pthread_mutex_unlock(&all->lock);
	if (enter && power_on_enter(v, &entry) < 0)
		vcpu_panic(v, "it cannot be reset");
}

static void run(struct vcpu *v)
{
	for (;;) {
		if (reset_pending(v->machine->reset))
			hold(v);
		int r = migd_guest_vcpu_run(v->gate);
		if (r == -ECANCELED)
			return;
		if (r == 0)
			vcpu_handle_exit(v);
		else if (r != -EINTR && r != -EAGAIN)
			vcpu_panic(v, "KVM_RUN: %s", strerrordesc_np(-r));
	}
}

static int set_up(struct vcpu *v)
{
	struct vcpus *all = v->all;
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, KICK_SIGNAL);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	int r = power_on_save(v, &v->power_on);
	if (r == 0 && all->enter)
		r = power_on_enter(v, &all->entry);
	if (r < 0)
		return r;
	r = migd_guest_add_vcpu(v->machine->guest, v->index, v->fd, v->run, &v->gate);
	return r < 0 ? fail(r, "vCPU %u: %s", v->index, migd_guest_error()) : 0;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	struct vcpus *all = v->all;
	int r = set_up(v);
	(void)pthread_mutex_lock(&all->lock);
	all->n_registered++;
	if (r < 0)
		all->error = r;
	(void)pthread_cond_broadcast(&all->changed);
	while (!all->go && !all->leave)
		(void)pthread_cond_wait(&all->changed, &all->lock);
	bool go = all->go;
	(void)pthread_mutex_unlock(&all->lock);
	if (go)
		run(v);
	return NULL;
}

static int create(struct vcpus *all, unsigned int index)
{
	struct vcpu *v = &all->v[index];
	struct kvm *kvm = &all->machine->kvm;
	v->fd = kvm_create_vcpu(kvm, index, all->n);
	if (v->fd < 0)
		return v->fd;
	void *map = mmap(NULL, kvm->run_len, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (map == MAP_FAILED)
		return fail(-errno, "cannot map vCPU %u: %m", index);
	v->run = map;
	return 0;
}

int vcpus_new(struct machine *m, unsigned int n, struct vcpus **ret)
{
	struct sigaction action = { .sa_handler = ignore_signal };
	if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
		return fail(-errno, "sigaction: %m");
	struct vcpus *all = calloc(1, sizeof(*all));
	struct vcpu *v = calloc(n, sizeof(*v));
	if (!all || !v) {
		free(all);
		free(v);
		return fail(-ENOMEM, "no memory for %u vCPUs", n);
	}
	*all = (struct vcpus){ .machine = m, .n = n, .v = v };
	(void)pthread_mutex_init(&all->lock, NULL);
	(void)pthread_cond_init(&all->changed, NULL);
	for (unsigned int i = 0; i < n; i++) {
		v[i] = (struct vcpu){ .all = all, .machine = m, .index = i, .fd = -1 };
		(void)sem_init(&v[i].wake, 0, 0);
	}
	int r = 0;
	for (unsigned int i = 0; r == 0 && i < n; i++)
		r = create(all, i);
	if (r < 0)
		(void)vcpus_free(all);
	else
		*ret = all;
	return r;
}

struct vcpus *vcpus_free(struct vcpus *all)
{
	if (!all)
		return NULL;
	for (unsigned int i = 0; i < all->n; i++) {
		struct vcpu *v = &all->v[i];
		(void)power_on_free(v->power_on);
		if (v->run)
			(void)munmap(v->run, all->machine->kvm.run_len);
		if (v->fd >= 0)
			(void)close(v->fd);
		(void)sem_destroy(&v->wake);
	}
	(void)pthread_cond_destroy(&all->changed);
	(void)pthread_mutex_destroy(&all->lock);
	free(all->v);
	free(all);
	return NULL;
}

int vcpus_start(struct vcpus *all, const struct boot_entry *entry)
{
	all->enter = entry != NULL;
	if (entry)
		all->entry = *entry;
	unsigned int n_started = 0;
	for (unsigned int i = 0; i < all->n; i++) {
		struct vcpu *v = &all->v[i];
		int error = pthread_create(&v->thread, NULL, vcpu_thread, v);
		if (error)
			return fail(-error, "cannot make the thread of vCPU %u: %s", i,
				    strerrordesc_np(error));
		v->has_thread = true;
		n_started++;
	}
	(void)pthread_mutex_lock(&all->lock);
	while (all->n_registered < n_started)
		(void)pthread_cond_wait(&all->changed, &all->lock);
	int r = all->error;
	(void)pthread_mutex_unlock(&all->lock);
	return r;
}

void vcpus_go(struct vcpus *all)
{
	(void)pthread_mutex_lock(&all->lock);
	all->go = true;
	(void)pthread_cond_broadcast(&all->changed);
	(void)pthread_mutex_unlock(&all->lock);
}

static bool join(struct vcpu *v)
{
	(void)sem_post(&v->wake);
	struct timespec deadline;
	int kicks = 0;
	do {
		if (kicks++ == JOIN_KICKS_MAX)
			return false;
		(void)pthread_kill(v->thread, KICK_SIGNAL);
		(void)clock_gettime(CLOCK_REALTIME, &deadline);
		deadline.tv_nsec += JOIN_KICK_NS;
		deadline.tv_sec += deadline.tv_nsec / 1000000000;
		deadline.tv_nsec %= 1000000000;
	} while (pthread_timedjoin_np(v->thread, NULL, &deadline) == ETIMEDOUT);
	v->has_thread = false;
	return true;
}

bool vcpus_join(struct vcpus *all)
{
	if (!all)
		return true;
	(void)pthread_mutex_lock(&all->lock);
	all->leave = true;
	(void)pthread_cond_broadcast(&all->changed);
	(void)pthread_mutex_unlock(&all->lock);
	for (unsigned int i = 0; i < all->n; i++)
		if (all->v[i].has_thread && !join(&all->v[i]))
			return false;
	return true;
}

void vcpus_kick(struct vcpus *all)
{
	(void)pthread_mutex_lock(&all->lock);
	for (unsigned int i = 0; i < all->n; i++)
		if (!all->v[i].held)
			(void)pthread_kill(all->v[i].thread, KICK_SIGNAL);
	(void)pthread_mutex_unlock(&all->lock);
}

bool vcpus_begin_reset(struct vcpus *all)
{
	(void)pthread_mutex_lock(&all->lock);
	all->resetting = all->n_held == all->n;
	bool resetting = all->resetting;
	(void)pthread_mutex_unlock(&all->lock);
	return resetting;
}

void vcpus_end_reset(struct vcpus *all, const struct boot_entry *entry)
{
	(void)pthread_mutex_lock(&all->lock);
	all->resetting = false;
	all->n_resets++;
	all->enter = entry != NULL;
	if (entry)
		all->entry = *entry;
	for (unsigned int i = 0; i < all->n; i++)
		(void)sem_post(&all->v[i].wake);
	(void)pthread_mutex_unlock(&all->lock);
}

uint64_t vcpus_tsc_khz(const struct vcpus *all)
{
	int khz = ioctl(all->v[0].fd, KVM_GET_TSC_KHZ, 0);
	return khz > 0 ? (uint64_t)khz : 0;
}
