/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the guest runs and why not, the events that tell of it, and those who wait for it. */
#include <errno.h>
#include <string.h>

#include "attach/codec.h"
#include "base/cleanup.h"
#include "guest/internal.h"

/* What a held gate means while the guest is here: the first reason that is set says it. */
static const struct {
	unsigned int reason;
	enum migd_guest_run_state state;
} by_reason[] = {
	{ GATE_PANICKED, MIGD_GUEST_RS_PANICKED },
	{ GATE_SHUTDOWN, MIGD_GUEST_RS_SHUTDOWN },
	{ GATE_USER, MIGD_GUEST_RS_PAUSED },
	{ GATE_SUSPENDED, MIGD_GUEST_RS_SUSPENDED },
};

static enum migd_guest_run_state run_state_here(unsigned int reasons)
{
	for (size_t i = 0; i < ARRAY_SIZE(by_reason); i++)
		if (reasons & by_reason[i].reason)
			return by_reason[i].state;
	return MIGD_GUEST_RS_RUNNING;
}

enum migd_guest_run_state run_state_of(struct migd_guest *g)
{
	switch (decision_get(&g->decision)) {
	case HANDOVER_EMPTY:
	case HANDOVER_INCOMING:
	case HANDOVER_LOADED:
		return MIGD_GUEST_RS_INMIGRATE;
	case HANDOVER_PAUSED:
	case HANDOVER_RELEASED:
		return MIGD_GUEST_RS_FINISH_MIGRATE;
	case HANDOVER_RETIRED:
		return MIGD_GUEST_RS_POSTMIGRATE;
	case HANDOVER_DISCARDED:
		return MIGD_GUEST_RS_DISCARDED;
	default:
		return run_state_here(gate_reasons(&g->gate));
	}
}

enum migd_guest_run_state migd_guest_run_state(struct migd_guest *guest)
{
	return run_state_of(guest);
}

/* ---- events ---- */

void events_raise_vcpu(struct migd_guest *g, enum attach_event event, unsigned int index, int code)
{
	(void)pthread_mutex_lock(&g->status);
	g->events.pending |= 1U << event;
	if (code) {
		g->events.vcpu = index;
		g->events.code = code;
	}
	(void)pthread_mutex_unlock(&g->status);
	service_wake(g);
}

void events_raise(struct migd_guest *g, enum attach_event event)
{
	events_raise_vcpu(g, event, 0, 0);
}

/*
 * A side that does not read its events is stuck: its connection ends as any other failure would end
 * it.
 */
static bool send_event(struct conn *c, const void *body, size_t len)
{
	return !c || conn_send(c, ATTACH_EVENT, body, len, NULL, 0, NULL) >= 0;
}

void events_send(struct migd_guest *g, enum attach_event event, uint64_t value, const char *text)
{
	struct attach_event_body e = {
		.kind = (uint16_t)event,
		.run_state = (uint8_t)run_state_of(g),
		.handover_state = (uint8_t)decision_get(&g->decision),
		.value = value,
	};
	uint8_t bytes[256];
	struct wcur w = wcur_of(bytes, sizeof(bytes));

	memcpy(e.handover_id, g->decision.page->handover_id, ATTACH_ID_LEN);
	if (text)
		memcpy(e.text, text, strnlen(text, ATTACH_STR_MAX));
	if (attach_event_body_encode(&w, &e) < 0)
		return;
	/*
	 * From HELLO on, not from its reply: HELLO said how things were when it was sent. A
	 * connection that is broken shows at the next poll; nothing is dropped from under a
	 * handler.
	 */
	if (!send_event(g->control.conn, bytes, w.len))
		guest_log(g, 4, "the daemon missed an event: kind=%u", event);
	if (!send_event(g->mig.conn, bytes, w.len))
		guest_log(g, 4, "the worker missed an event: kind=%u", event);
}

void events_flush(struct migd_guest *g)
{
	struct events e;

	(void)pthread_mutex_lock(&g->status);
	e = g->events;
	g->events.pending = 0;
	(void)pthread_mutex_unlock(&g->status);
	for (unsigned int event = 0; event < 32; event++) {
		if (!(e.pending & 1U << event))
			continue;
		if (event == ATTACH_EVENT_VCPU_ERROR)
			events_send(g, event, e.vcpu, strerrordesc_np(-e.code));
		else
			events_send(g, event, 0, NULL);
	}
}

static const struct {
	enum migd_guest_event event;
	enum attach_event tell;
	unsigned int close; /* gate reasons it sets ... */
	unsigned int open;  /* ... and lifts */
} notices[] = {
	{ MIGD_GUEST_EVENT_SHUTDOWN, ATTACH_EVENT_SHUTDOWN, GATE_SHUTDOWN, 0 },
	{ MIGD_GUEST_EVENT_RESET, ATTACH_EVENT_RESET, 0, GATE_SUSPENDED },
	{ MIGD_GUEST_EVENT_PANIC, ATTACH_EVENT_PANIC, GATE_PANICKED, 0 },
	{ MIGD_GUEST_EVENT_SUSPEND, ATTACH_EVENT_SUSPEND, GATE_SUSPENDED, 0 },
	{ MIGD_GUEST_EVENT_WAKEUP, ATTACH_EVENT_WAKEUP, 0, GATE_SUSPENDED },
};

int migd_guest_notify(struct migd_guest *guest, enum migd_guest_event event)
{
	for (size_t i = 0; i < ARRAY_SIZE(notices); i++) {
		if (notices[i].event != event)
			continue;
		/* The VMM loads the guest's memory anew, perhaps without marking each page. */
		if (event == MIGD_GUEST_EVENT_RESET)
			dirty_mark_all(&guest->dirty);
		if (notices[i].close)
			gate_close(&guest->gate, notices[i].close);
		if (notices[i].open)
			gate_open(&guest->gate, notices[i].open);
		events_raise(guest, notices[i].tell);
		return 0;
	}
	return guest_failf(-EINVAL, "there is no guest event %d", (int)event);
}

/* ---- outcome ---- */

void outcome_publish(struct migd_guest *g)
{
	enum handover_state state = decision_get(&g->decision);
	LOCK_SCOPE(&g->status);

	g->outcome.retired = state == HANDOVER_RETIRED;
	g->outcome.discarded = state == HANDOVER_DISCARDED;
	g->outcome.active = !g->outcome.discarded && state != HANDOVER_EMPTY &&
			    state != HANDOVER_INCOMING && state != HANDOVER_LOADED;
	(void)pthread_cond_broadcast(&g->status_changed);
}

/* What a waiter gets, or 1: nothing yet. Status lock held. */
typedef int (*outcome_fn)(const struct migd_guest *g);

static int outcome_active(const struct migd_guest *g)
{
	if (g->outcome.active)
		return 0;
	return g->outcome.discarded || gate_has_quit(&g->gate) ? -ECANCELED : 1;
}

static int outcome_gone(const struct migd_guest *g)
{
	if (g->outcome.retired)
		return 0;
	if (g->outcome.discarded)
		return -ECANCELED;
	return gate_has_quit(&g->gate) ? -ESHUTDOWN : 1;
}

static int wait_outcome(struct migd_guest *g, outcome_fn outcome, int timeout_ms)
{
	uint64_t deadline = clock_now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	struct timespec ts = { .tv_sec = (time_t)(deadline / NS_PER_SEC),
			       .tv_nsec = (long)(deadline % NS_PER_SEC) };
	LOCK_SCOPE(&g->status);
	int r;

	while ((r = outcome(g)) > 0) {
		if (timeout_ms < 0)
			(void)pthread_cond_wait(&g->status_changed, &g->status);
		else if (pthread_cond_timedwait(&g->status_changed, &g->status, &ts) == ETIMEDOUT)
			return outcome(g) > 0 ? -ETIMEDOUT : outcome(g);
	}
	return r;
}

int migd_guest_wait_active(struct migd_guest *guest, int timeout_ms)
{
	int r = guest_refuse_callback(guest);

	if (r < 0)
		return r;
	r = wait_outcome(guest, outcome_active, timeout_ms);
	return r < 0 ? guest_failf(r, "the guest is not active: %s", strerrordesc_np(-r)) : 0;
}

int migd_guest_wait_gone(struct migd_guest *guest, int timeout_ms)
{
	int r = guest_refuse_callback(guest);

	if (r < 0)
		return r;
	r = wait_outcome(guest, outcome_gone, timeout_ms);
	return r < 0 ? guest_failf(r, "the guest was not handed over: %s", strerrordesc_np(-r)) : 0;
}
