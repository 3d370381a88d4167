/* SPDX-License-Identifier: Apache-2.0 */
/* Many migrations as one operation. */
#include "daemon/evacuation.h"

#include <errno.h>
#include <migd/guest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/address.h"
#include "daemon/cancel.h"
#include "daemon/daemon.h"
#include "daemon/evacuation-plan.h"
#include "daemon/evacuation-state.h"
#include "daemon/guest.h"
#include "daemon/json.h"
#include "daemon/migration.h"
#include "daemon/outgoing.h"
#include "daemon/priority.h"
#include "daemon/registry.h"
#include "daemon/state-dir.h"
#include "daemon/timer.h"
#include "qmp/server.h"
#include "schema/commands.h"
#include "schema/events.h"

/* In the state directory; no guest's: those are hex digits. */
#define STORE_NAME "evacuation"

/* Beside being told of changes: VMMs that do not come back, for one, are no change. */
#define LOOK_AGAIN_MS 1000U
/* A VMM attaches again to a new daemon within a few seconds. */
#define MISSING_NS (30 * NS_PER_SEC)

struct evacuation {
	struct daemon *daemon;
	struct evacuation_state at;
	struct event *timer;
	bool soon;    /* the timer is for now */
	bool changed; /* since it was saved */
};

static bool goes_away(const struct migration *m)
{
	return m && migration_running(m) && m->direction == WORKER_DIRECTION_OUTGOING && !m->preflight_only;
}

/* It is at home here: it runs, or is stopped, and has neither left nor to arrive. */
static bool is_here(const struct guest *g)
{
	return guest_attached(g) && g->run_state != MIGD_GUEST_RS_INMIGRATE && g->run_state != MIGD_GUEST_RS_POSTMIGRATE &&
	       g->run_state != MIGD_GUEST_RS_DISCARDED && !(migration_running(g->migration) && !goes_away(g->migration));
}

/* ---- told, kept ---- */

static void save(struct evacuation *e, bool durable)
{
	struct merr err = MERR_INIT;
	_cleanup_json_ json_t *o = evacuation_state_save(&e->at);

	e->changed = false;
	if (!o)
		(void)merr_set(&err, -ENOMEM, "out of memory");
	if (!o || state_dir_save(e->daemon->state, STORE_NAME, o, durable, &err) < 0)
		log_warning("the evacuation does not go on if this daemon ends: %s", merr_msg(&err));
}

static void set_status(struct evacuation *e, enum evacuation_status status)
{
	struct evacuation_totals t;

	e->at.status = status;
	evacuation_state_totals(&e->at, &t);
	log_notice("evacuation %s: %u guests, %u have gone, %u stay", evacuation_status_str(status), t.total, t.completed,
		   t.stayed);
	save(e, true);
	event_evacuation(e->daemon->qmp, &t);
}

/* ERROR may be NULL: what was known stays. */
static void set_state(struct evacuation *e, struct leaver *l, enum evacuation_guest_state state, const char *error)
{
	if (error) {
		free(l->shown.error);
		l->shown.error = strdup(error);
		l->shown.has_error = l->shown.error != NULL;
	}
	if (l->shown.state == state)
		return;
	l->shown.state = state;
	e->changed = true;
	log_info("evacuation: guest %s%s%s guest='%s' destination='%s'", evacuation_guest_state_str(state), error ? ": " : "",
		 error ?: "", l->shown.guest, l->shown.has_destination ? l->shown.destination : "");
	event_evacuation_guest(e->daemon->qmp, &l->shown);
}

/* ---- destinations ---- */

static int place(struct evacuation *e, struct leaver *l)
{
	int r = evacuation_plan_place(&e->at.plan, &e->at.load, l->shown.guest, l->shown.memory, l->tried);

	return r < 0 ? r : leaver_take_destination(&e->at, l, r);
}

/* ---- one guest ---- */

static int begin_migration(struct evacuation *e, const struct leaver *l, struct guest *g, struct merr *err)
{
	const struct evacuation_plan *p = &e->at.plan;
	char uri[ADDR_FORMATTED_MAX];
	struct addr addr;
	int r = addr_parse_uri(l->shown.destination, &addr, err);

	/* The queue's journal has no more than the text. */
	(void)snprintf(uri, sizeof(uri), "%s%s", l->shown.destination, r == 0 && addr.to_guest ? "" : ",guest");
	if (r == 0)
		r = addr_parse_uri(uri, &addr, err);
	if (r == 0)
		r = address_check(g, &addr, err);
	return r < 0 ? r
		     : outgoing_start(g, NULL,
				      &(struct outgoing){
					      .uri = uri,
					      .addr = &addr,
					      .priority = p->has_priority ? (int)p->priority : 0,
					      .strategy = p->has_strategy ? p->strategy : MIGRATION_STRATEGY_PRECOPY,
					      .deadline_ms = p->has_deadline ? p->deadline : 0,
					      .start_remote = !p->has_start_remote || p->start_remote,
				      },
				      err);
}

static void follow(struct evacuation *e, struct leaver *l, const struct migration *m)
{
	memcpy(l->id, m->id, sizeof(l->id));
	l->missing_ns = 0;
	set_state(e, l, m->waits ? EVACUATION_GUEST_STATE_WAITING : EVACUATION_GUEST_STATE_MIGRATING, NULL);
}

/* What keeps it from being begun is the guest's own: another destination would not help. */
static void begin(struct evacuation *e, struct leaver *l, struct guest *g)
{
	struct merr err = MERR_INIT;
	int r;

	if (l->destination < 0 && place(e, l) < 0) {
		set_state(e, l, EVACUATION_GUEST_STATE_FAILED,
			  l->shown.has_error ? NULL : "no destination has room for it (max-guests, max-memory)");
		return;
	}
	r = begin_migration(e, l, g, &err);
	if (r < 0) {
		leaver_leave_destination(&e->at, l);
		set_state(e, l, EVACUATION_GUEST_STATE_FAILED, merr_msg(&err));
		return;
	}
	l->shown.tries++;
	e->changed = true;
	follow(e, l, g->migration);
}

/* Another destination, if there is one and it may be tried. */
static void on_failed(struct evacuation *e, struct leaver *l, struct guest *g)
{
	uint32_t retries = e->at.plan.has_retries ? e->at.plan.retries : 1;
	const char *why = merr_msg(&g->migration->error);
	bool again;

	if (l->destination >= 0)
		l->tried |= UINT64_C(1) << l->destination;
	leaver_leave_destination(&e->at, l);
	l->id[0] = '\0';
	again = e->at.status == EVACUATION_STATUS_RUNNING && l->shown.tries <= retries && guest_attached(g) && place(e, l) == 0;
	set_state(e, l, again ? EVACUATION_GUEST_STATE_WAITING : EVACUATION_GUEST_STATE_FAILED, why);
	if (again)
		begin(e, l, g);
}

/* The migration that was begun for it is over. */
static void on_ended(struct evacuation *e, struct leaver *l, struct guest *g)
{
	switch (g->migration->status) {
	case MIGRATION_STATUS_COMPLETED:
		set_state(e, l, EVACUATION_GUEST_STATE_COMPLETED, NULL);
		break;
	case MIGRATION_STATUS_CANCELLED:
		leaver_leave_destination(&e->at, l);
		set_state(e, l, EVACUATION_GUEST_STATE_CANCELLED, "its migration was cancelled");
		break;
	default:
		on_failed(e, l, g);
	}
}

/* A new daemon's guests come back one by one; one that does not, does not need to go. */
static void on_missing(struct evacuation *e, struct leaver *l)
{
	uint64_t now = clock_now_ns();

	if (!l->missing_ns)
		l->missing_ns = now;
	if (now - l->missing_ns < MISSING_NS)
		return;
	leaver_leave_destination(&e->at, l);
	set_state(e, l, EVACUATION_GUEST_STATE_GONE, "its VMM is not attached any more");
}

static void look_at(struct evacuation *e, struct leaver *l, struct guest *g)
{
	const struct migration *m = g ? g->migration : NULL;

	if (g && guest_attached(g))
		l->missing_ns = 0;
	if (l->restored && !l->id[0] && m && m->direction == WORKER_DIRECTION_OUTGOING)
		memcpy(l->id, m->id, sizeof(l->id));
	if (goes_away(m)) {
		follow(e, l, m);
	} else if (m && l->id[0] && strcmp(m->id, l->id) == 0 && m->status != MIGRATION_STATUS_NONE) {
		on_ended(e, l, g);
	} else if (g && guest_attached(g) && g->run_state == MIGD_GUEST_RS_POSTMIGRATE) {
		set_state(e, l, EVACUATION_GUEST_STATE_COMPLETED, NULL);
	} else if (!g || !guest_attached(g)) {
		on_missing(e, l);
	} else if (e->at.status == EVACUATION_STATUS_CANCELLING) {
		leaver_leave_destination(&e->at, l);
		set_state(e, l, EVACUATION_GUEST_STATE_CANCELLED, "the evacuation was cancelled");
	} else {
		begin(e, l, g);
	}
}

/* ---- all of them ---- */

static void look_for_later(struct evacuation *e)
{
	struct guest *g;

	if (!e->at.plan.has_later || !e->at.plan.later || e->at.status != EVACUATION_STATUS_RUNNING)
		return;
	TAILQ_FOREACH(g, &e->daemon->registry->guests, entry)
	if (is_here(g) && !evacuation_state_find(&e->at, g->name) && evacuation_state_add(&e->at, g->name, g->ram_bytes) == 0)
		e->changed = true;
}

static void conclude(struct evacuation *e)
{
	struct evacuation_totals t;

	evacuation_state_totals(&e->at, &t);
	if (t.waiting || t.migrating)
		return;
	if (e->at.status == EVACUATION_STATUS_CANCELLING)
		set_status(e, EVACUATION_STATUS_CANCELLED);
	else
		set_status(e, t.completed == t.total ? EVACUATION_STATUS_COMPLETED : EVACUATION_STATUS_INCOMPLETE);
}

static void schedule(struct evacuation *e, bool soon);

/* The registry is walked once: a guest is found among the leavers, not the other way round. */
static void look(struct evacuation *e)
{
	struct guest *g, *next;

	look_for_later(e);
	for (g = TAILQ_FIRST(&e->daemon->registry->guests); g; g = next) {
		struct leaver *l = evacuation_state_find(&e->at, g->name);

		next = TAILQ_NEXT(g, entry);
		if (l && leaver_open(l))
			look_at(e, l, g);
	}
	for (size_t i = 0; i < e->at.n; i++)
		if (leaver_open(&e->at.leavers[i]) && !registry_find(e->daemon->registry, e->at.leavers[i].shown.guest))
			look_at(e, &e->at.leavers[i], NULL);
	conclude(e);
	if (e->changed)
		save(e, false);
	if (evacuation_state_active(&e->at))
		schedule(e, false);
}

static void on_look(evutil_socket_t fd, short what, void *opaque)
{
	struct evacuation *e = opaque;

	(void)fd;
	(void)what;
	e->timer = timer_free(e->timer);
	e->soon = false;
	if (evacuation_state_active(&e->at))
		look(e);
}

static void schedule(struct evacuation *e, bool soon)
{
	if (e->timer && (e->soon || !soon))
		return;
	e->timer = timer_free(e->timer);
	e->soon = soon;
	e->timer = timer_start(e->daemon->base, soon ? 0 : LOOK_AGAIN_MS, on_look, e);
}

void evacuation_review(struct daemon *d)
{
	if (d->evacuation && evacuation_state_active(&d->evacuation->at))
		schedule(d->evacuation, true);
}

/* ---- begun ---- */

static bool lists(char **names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static int check_named(const struct evacuation *e, const struct evacuation_plan *p, struct merr *err)
{
	const struct guest *g;

	for (size_t i = 0; i < p->n_guests; i++) {
		g = registry_find(e->daemon->registry, p->guests[i]);
		if (!g || !is_here(g))
			return merr_set(err, -ENODEV, "guest '%s' is not here, or does not run here", p->guests[i]);
	}
	return 0;
}

static int collect(struct evacuation *e, struct merr *err)
{
	const struct evacuation_plan *p = &e->at.plan;
	const struct guest *g;
	int r = 0;

	TAILQ_FOREACH(g, &e->daemon->registry->guests, entry)
	if (r == 0 && is_here(g) && (!p->has_guests || lists(p->guests, p->n_guests, g->name)) &&
	    !lists(p->except, p->n_except, g->name))
		r = evacuation_state_add(&e->at, g->name, g->ram_bytes);
	return r < 0 ? merr_set(err, r, "out of memory") : 0;
}

static int compare_sizes(const void *a, const void *b)
{
	const struct leaver *x = *(struct leaver *const *)a, *y = *(struct leaver *const *)b;

	if (x->shown.memory != y->shown.memory)
		return x->shown.memory > y->shown.memory ? -1 : 1;
	return strcmp(x->shown.guest, y->shown.guest);
}

/* The largest first; those whose migration is under way go where they go. */
static int begin_all(struct evacuation *e)
{
	_cleanup_free_ struct leaver **order = calloc(e->at.n + 1, sizeof(*order));

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < e->at.n; i++)
		order[i] = &e->at.leavers[i];
	qsort(order, e->at.n, sizeof(*order), compare_sizes);
	for (size_t i = 0; i < e->at.n; i++)
		look_at(e, order[i], registry_find(e->daemon->registry, order[i]->shown.guest));
	return 0;
}

static int start(struct evacuation *e, const struct evacuation_plan *p, struct merr *err)
{
	int r = evacuation_state_active(&e->at) ? merr_set(err, -EBUSY,
							   "An evacuation is under way; query-evacuation shows it, "
							   "evacuate-cancel ends it")
						: evacuation_plan_verify(p, err);

	if (r == 0 && p->has_priority)
		r = priority_check(p->priority, err);
	if (r == 0)
		r = check_named(e, p, err);
	if (r < 0)
		return r;
	evacuation_state_clear(&e->at);
	if (evacuation_plan_copy(&e->at.plan, p) < 0)
		r = merr_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = collect(e, err);
	if (r < 0) {
		evacuation_state_clear(&e->at);
		return r;
	}
	set_status(e, EVACUATION_STATUS_RUNNING);
	if (begin_all(e) < 0)
		log_warning("out of memory: guests are begun by name, not by size");
	schedule(e, true);
	return 0;
}

/* ---- cancelled ---- */

static int cancel(struct evacuation *e, bool running, struct merr *err)
{
	struct merr late = MERR_INIT;
	struct guest *g;

	if (e->at.status != EVACUATION_STATUS_RUNNING)
		return merr_set(err, -EINVAL, "There is no evacuation to be cancelled (status %s)",
				evacuation_status_str(e->at.status));
	set_status(e, EVACUATION_STATUS_CANCELLING);
	for (size_t i = 0; i < e->at.n; i++) {
		if (!leaver_open(&e->at.leavers[i]))
			continue;
		g = registry_find(e->daemon->registry, e->at.leavers[i].shown.guest);
		if (!g || !goes_away(g->migration) || (!running && !g->migration->waits))
			continue;
		merr_clear(&late);
		if (cancel_migration(g->migration, &late) < 0)
			log_info("evacuation: %s guest='%s'", merr_msg(&late), g->name);
	}
	schedule(e, true);
	return 0;
}

/* ---- a former daemon's ---- */

static void load(struct evacuation *e)
{
	_cleanup_json_ json_t *o = NULL;
	struct merr err = MERR_INIT;
	int r = state_dir_load(e->daemon->state, STORE_NAME, &o, &err);

	if (r == -ENOENT)
		return;
	if (r == 0)
		r = evacuation_state_restore(&e->at, o, &err);
	if (r < 0) {
		log_err("ignoring the evacuation that a former daemon kept (settings/" STORE_NAME "): %s", merr_msg(&err));
		evacuation_state_clear(&e->at);
	} else if (evacuation_state_active(&e->at)) {
		log_notice("going on with a former daemon's evacuation of %zu guests", e->at.n);
		schedule(e, false);
	}
}

struct evacuation *evacuation_new(struct daemon *d)
{
	struct evacuation *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->daemon = d;
	evacuation_state_clear(&e->at);
	load(e);
	return e;
}

struct evacuation *evacuation_free(struct evacuation *e)
{
	if (!e)
		return NULL;
	(void)timer_free(e->timer);
	evacuation_state_clear(&e->at);
	free(e);
	return NULL;
}

/* ---- commands ---- */

void cmd_evacuate(struct qmp_call *call, const struct evacuate_args *args)
{
	struct daemon *d = qmp_call_opaque(call);
	struct merr err = MERR_INIT;

	qmp_answer(call, start(d->evacuation, &args->data, &err), &err);
}

void cmd_evacuate_cancel(struct qmp_call *call, const struct evacuate_cancel_args *args)
{
	struct daemon *d = qmp_call_opaque(call);
	struct merr err = MERR_INIT;

	if (cancel(d->evacuation, !args->has_running || args->running, &err) < 0)
		qmp_fail(call, &err);
	else
		qmp_return(call, NULL);
}

void cmd_query_evacuation(struct qmp_call *call, const struct query_evacuation_args *args)
{
	const struct daemon *d = qmp_call_opaque(call);
	json_t *o = evacuation_state_info(&d->evacuation->at);
	struct merr err = MERR_INIT;

	(void)args;
	if (o) {
		qmp_return(call, o);
		return;
	}
	(void)merr_set(&err, -ENOMEM, "out of memory");
	qmp_fail(call, &err);
}
