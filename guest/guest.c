/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's life: new, start, stop, free; and the calls that only pass on. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/copy-sized.h"
#include "guest/internal.h"

/* ---- what the gate asks of the guest ---- */

static void on_all_parked(void *opaque)
{
	service_wake(opaque);
}

static int on_ring_full(void *opaque, struct migd_guest_vcpu *vcpu)
{
	struct migd_guest *g = opaque;

	int n = vcpu->ring ? dirty_ring_harvest(&g->dirty, vcpu->ring) : 0;

	if (n > 0 && __atomic_load_n(&vcpu->ring->limit_bps, __ATOMIC_RELAXED))
		gate_hold_vcpu(vcpu, dirty_ring_paid_ns(vcpu->ring), false);
	return n;
}

static void on_ring_broken(void *opaque, struct migd_guest_vcpu *vcpu)
{
	(void)vcpu;
	events_raise(opaque, ATTACH_EVENT_RING_BROKEN);
}

static void on_vcpu_error(void *opaque, struct migd_guest_vcpu *vcpu, int code)
{
	(void)guest_failf(code, "vCPU %u: KVM_RUN: %s", vcpu->index, strerror(-code));
	events_raise_vcpu(opaque, ATTACH_EVENT_VCPU_ERROR, vcpu->index, code);
}

/* ---- options ---- */

static int check_name(const char *name, struct merr *err)
{
	size_t len = name ? strnlen(name, MIGD_GUEST_NAME_MAX) : 0;

	if (len < 1 || len >= MIGD_GUEST_NAME_MAX)
		return merr_set(err, -EINVAL, "the guest's name must have 1 to %d bytes",
				MIGD_GUEST_NAME_MAX - 1);
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)name[i]))
			return merr_set(err, -EINVAL, "the guest's name has a control character");
	return 0;
}

static int check_options(const struct migd_guest_options *o, struct merr *err)
{
	int r = check_name(o->name, err);

	if (r < 0)
		return r;
	if (o->role != MIGD_GUEST_RUNNING && o->role != MIGD_GUEST_INCOMING)
		return merr_set(err, -EINVAL, "there is no role %d", (int)o->role);
	if (!o->attach_path == !o->listen_path)
		return merr_set(err, -EINVAL,
				"exactly one of attach_path and listen_path must be set");
	if (o->kick_signal < 0 || o->kick_signal > SIGRTMAX)
		return merr_set(err, -EINVAL, "there is no signal %d", o->kick_signal);
	return 0;
}

static int take_hooks(struct migd_guest *g, const struct migd_guest_options *o, struct merr *err)
{
	g->opaque = o->opaque;
	if (!o->hooks)
		return 0;
	return copy_sized(&g->hooks, sizeof(g->hooks), o->hooks, "hooks", err);
}

static int take_options(struct migd_guest *g, const struct migd_guest_options *options,
			struct merr *err)
{
	struct migd_guest_options o = { 0 };
	int r = copy_sized(&o, sizeof(o), options, "options", err);

	if (r >= 0)
		r = check_options(&o, err);
	if (r >= 0)
		r = take_hooks(g, &o, err);
	if (r < 0)
		return r;
	memcpy(g->name, o.name, strlen(o.name) + 1);
	memcpy(g->uuid, o.uuid, sizeof(g->uuid));
	g->role = o.role;
	g->lease_ms = o.lease_ms;
	g->attach_path = o.attach_path ? strdup(o.attach_path) : NULL;
	g->listen_path = o.listen_path ? strdup(o.listen_path) : NULL;
	if (!g->attach_path && !g->listen_path)
		return merr_set(err, -ENOMEM, "no memory for a guest");
	if (o.cpr && o.role != MIGD_GUEST_INCOMING)
		return merr_set(err, -EINVAL, "memory is handed over to an incoming guest only");
	g->cpr = o.cpr;
	g->gate.kick_signal = o.kick_signal ? o.kick_signal : SIGRTMIN + 1;
	return 0;
}

/* ---- new and free ---- */

static int init_gate(struct migd_guest *g, struct merr *err)
{
	struct gate_ops ops = {
		.kick = g->hooks.kick,
		.kick_opaque = g->opaque,
		.all_parked = on_all_parked,
		.ring_full = on_ring_full,
		.ring_broken = on_ring_broken,
		.vcpu_error = on_vcpu_error,
		.opaque = g,
	};
	int r = gate_init(&g->gate, &ops, g->gate.kick_signal);

	if (r < 0)
		return merr_set_errno(err, r, "kick signal %d", g->gate.kick_signal);
	if (g->role == MIGD_GUEST_INCOMING)
		gate_close(&g->gate, GATE_AWAY);
	return 0;
}

static void init_locks(struct migd_guest *g)
{
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&g->registration, NULL);
	(void)pthread_mutex_init(&g->status, NULL);
	(void)pthread_mutex_init(&g->poison.lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&g->status_changed, &attr);
	(void)pthread_condattr_destroy(&attr);
}

static int init(struct migd_guest *g, const struct migd_guest_options *options, struct merr *err)
{
	int r;

	g->wake_fd = g->decision.fd = g->control.listen_fd = g->uffd.fd = -1;
	live_session_init(&g->mig.live);
	init_locks(g);
	r = take_options(g, options, err);
	if (r >= 0)
		r = init_gate(g, err);
	if (r < 0)
		return r;
	g->body = malloc(ATTACH_BODY_MAX);
	if (!g->body)
		return merr_set(err, -ENOMEM, "no memory for a guest");
	r = decision_init(&g->decision,
			  g->role == MIGD_GUEST_INCOMING ? HANDOVER_EMPTY : HANDOVER_RUNNING);
	if (r < 0)
		return merr_set_errno(err, r, "cannot make the decision page");
	g->wake_fd = wake_new();
	if (g->wake_fd < 0)
		return merr_set_errno(err, g->wake_fd, "cannot make a wake-up descriptor");
	outcome_publish(g);
	return 0;
}

int migd_guest_new(const struct migd_guest_options *options, struct migd_guest **ret_guest)
{
	struct migd_guest *g = calloc(1, sizeof(*g));
	struct merr err = MERR_INIT;

	if (!g)
		return guest_failf(-ENOMEM, "no memory for a guest");
	if (init(g, options, &err) < 0) {
		g->cpr = NULL; /* still the caller's */
		migd_guest_free(g);
		return guest_fail(&err);
	}
	*ret_guest = g;
	return 0;
}

void migd_guest_stop(struct migd_guest *guest)
{
	if (guest_refuse_callback(guest) < 0)
		return;
	gate_quit(&guest->gate);
	service_wake(guest);
	(void)pthread_mutex_lock(&guest->status);
	(void)pthread_cond_broadcast(&guest->status_changed);
	(void)pthread_mutex_unlock(&guest->status);
}

static void free_rings(struct migd_guest *g)
{
	for (size_t i = 0; i < g->gate.n_vcpus; i++)
		g->gate.vcpus[i]->ring = dirty_ring_free(g->gate.vcpus[i]->ring);
}

void migd_guest_free(struct migd_guest *guest)
{
	struct migd_guest *g = guest;

	if (!g || guest_refuse_callback(g) < 0)
		return;
	migd_guest_stop(g);
	service_join(g);
	if (g->dirty.tables)
		dirty_stop(&g->dirty, &g->gate);
	dirty_rate_free(g);
	dirty_limit_free(g);
	control_done(g);
	uffd_end(g);
	(void)arch_state_free(g->arch);
	free_rings(g);
	gate_done(&g->gate);
	if (g->decision.page)
		decision_done(&g->decision);
	tables_done(&g->tables);
	migd_guest_cpr_free(g->cpr);
	close_fd(g->wake_fd);
	(void)pthread_cond_destroy(&g->status_changed);
	(void)pthread_mutex_destroy(&g->status);
	(void)pthread_mutex_destroy(&g->registration);
	free(g->body);
	free(g->attach_path);
	free(g->listen_path);
	free(g);
}

/* ---- start ---- */

static int start(struct migd_guest *g, struct merr *err)
{
	int r;

	if (g->started)
		return merr_set(err, -EBUSY, "the guest was started already");
	r = tables_freeze(g, err);
	if (r < 0)
		return r;
	r = arch_state_new(&g->tables, &g->arch, err);
	if (r < 0)
		return r;
	r = control_init(g, err);
	if (r >= 0)
		r = service_start(g, err);
	if (r < 0) {
		control_done(g);
		g->arch = arch_state_free(g->arch);
		return r;
	}
	g->started = true;
	gate_open(&g->gate, GATE_NOT_STARTED);
	return 0;
}

int migd_guest_start(struct migd_guest *guest)
{
	struct merr err = MERR_INIT;
	int r = guest_refuse_callback(guest);

	if (r < 0)
		return r;
	LOCK_SCOPE(&guest->registration);
	r = start(guest, &err);
	return r < 0 ? guest_fail(&err) : 0;
}

/* ---- passing on ---- */

int migd_guest_vcpu_run(struct migd_guest_vcpu *vcpu)
{
	return gate_run(vcpu);
}

void migd_guest_mark_dirty(struct migd_guest *guest, uint64_t gpa, uint64_t len)
{
	dirty_mark_gpa(&guest->dirty, gpa, len);
}

void migd_guest_mark_dirty_host(struct migd_guest *guest, const void *host, uint64_t len)
{
	dirty_mark_host(&guest->dirty, host, len);
}
