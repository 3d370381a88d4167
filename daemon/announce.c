/* SPDX-License-Identifier: Apache-2.0 */
/* Announcing a guest on its networks: rounds by timers, each a request to the VMM. */
#include "daemon/announce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attach/codec.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/scope.h"
#include "daemon/timer.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* The VMM's service thread sends a few frames. */
#define REPLY_TIMEOUT_MS 10000U

/* Timers of one guest: more are a client's mistake. */
#define ANNOUNCERS_MAX 64U

struct announcer {
	TAILQ_ENTRY(announcer) entry;
	struct guest *guest;
	struct announce_plan plan; /* its interfaces are in `body` alone */
	char *id;                  /* plan.id; NULL: the migration's */
	uint8_t *body;             /* of the request */
	size_t len;
	uint64_t round;        /* sent so far */
	struct event *timer;   /* the next round; NULL: none, or one is being answered */
	struct qmp_call *call; /* waits for the first round */
};

uint64_t announce_delay_ms(const struct announce_plan *plan, uint64_t round)
{
	uint64_t ms = plan->initial_ms + (round - 1) * plan->step_ms;

	return ms < plan->max_ms ? ms : plan->max_ms;
}

static bool same_id(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct announcer *announcer_free(struct announcer *a)
{
	if (a->call)
		qmp_return(a->call, NULL);
	guest_forget_requests(a->guest, a);
	a->timer = timer_free(a->timer);
	free(a->id);
	free(a->body);
	free(a);
	return NULL;
}

static void drop(struct announcer *a)
{
	TAILQ_REMOVE(&a->guest->announcers, a, entry);
	(void)announcer_free(a);
}

static void on_reply(void *opaque, struct rcur *body, const struct merr *err);

static int send_round(struct announcer *a, struct merr *err)
{
	int r = guest_request(a->guest, ATTACH_ANNOUNCE, a->body, a->len, NULL, 0, REPLY_TIMEOUT_MS,
			      on_reply, a, err);

	if (r == 0)
		a->round++;
	return r;
}

static void on_time(evutil_socket_t fd, short what, void *opaque)
{
	struct announcer *a = opaque;
	struct merr err = MERR_INIT;

	(void)fd;
	(void)what;
	a->timer = timer_free(a->timer);
	if (send_round(a, &err) == 0)
		return;
	log_debug("no more announcements guest='%s': %s", a->guest->name, merr_msg(&err));
	drop(a);
}

static void on_reply(void *opaque, struct rcur *body, const struct merr *err)
{
	struct announcer *a = opaque;
	struct qmp_call *call = TAKE_PTR(a->call);

	(void)body;
	if (err)
		log_debug("not announced guest='%s' round=%llu: %s", a->guest->name,
			  (unsigned long long)a->round, merr_msg(err));
	if (call && err)
		qmp_fail(call, err);
	else if (call)
		qmp_return(call, NULL);
	if (!err && a->round < a->plan.rounds)
		a->timer = timer_start(a->guest->daemon->base,
				       (unsigned int)announce_delay_ms(&a->plan, a->round), on_time,
				       a);
	if (!a->timer)
		drop(a);
}

static int encode(struct announcer *a, const struct announce_plan *plan, struct merr *err)
{
	_cleanup_free_ uint8_t *rows = malloc(ATTACH_BODY_MAX);
	struct attach_announce req = { .n = (uint32_t)plan->n_interfaces };
	struct wcur w, out;

	a->body = malloc(ATTACH_BODY_MAX);
	if (!rows || !a->body)
		return merr_set(err, -ENOMEM, "out of memory");
	w = wcur_of(rows, ATTACH_BODY_MAX);
	for (size_t i = 0; i < plan->n_interfaces; i++) {
		struct attach_interface row = { 0 };

		memcpy(row.name, plan->interfaces[i], strlen(plan->interfaces[i]));
		(void)attach_interface_encode(&w, &row);
	}
	req.interfaces = (struct attach_blob){ .data = rows, .len = (uint32_t)w.len };
	out = wcur_of(a->body, ATTACH_BODY_MAX);
	if (w.bad || attach_announce_encode(&out, &req) < 0)
		return merr_set(err, -EINVAL, "The interfaces do not fit a message");
	a->len = out.len;
	return 0;
}

static int check_names(const struct announce_plan *plan, struct merr *err)
{
	if (plan->n_interfaces > ATTACH_INTERFACES_MAX)
		return merr_set(err, -EINVAL,
				"Parameter 'interfaces' expects at most %u names; leave it out for "
				"all interfaces",
				ATTACH_INTERFACES_MAX);
	for (size_t i = 0; i < plan->n_interfaces; i++)
		if (!plan->interfaces[i][0] || strlen(plan->interfaces[i]) > ATTACH_STR_MAX)
			return merr_set(err, -EINVAL,
					"Parameter 'interfaces' expects names of 1 to %u bytes",
					ATTACH_STR_MAX);
	return 0;
}

static int announcer_new(struct guest *g, const struct announce_plan *plan, struct announcer **ret,
			 struct merr *err)
{
	struct announcer *a;
	int r = check_names(plan, err);

	if (r < 0)
		return r;
	a = calloc(1, sizeof(*a));
	if (!a)
		return merr_set(err, -ENOMEM, "out of memory");
	a->guest = g;
	a->plan = *plan;
	a->plan.interfaces = NULL;
	if (plan->id)
		a->plan.id = a->id = strdup(plan->id);
	r = plan->id && !a->id ? merr_set(err, -ENOMEM, "out of memory") : encode(a, plan, err);
	if (r < 0) {
		(void)announcer_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

/* Drop the one of that id; how many are left. */
static unsigned int replace(struct guest *g, const char *id)
{
	struct announcer *a, *next;
	unsigned int n = 0;

	for (a = TAILQ_FIRST(&g->announcers); a; a = next) {
		next = TAILQ_NEXT(a, entry);
		if (same_id(a->id, id))
			drop(a);
		else
			n++;
	}
	return n;
}

int announce_start(struct guest *g, const struct announce_plan *plan, struct qmp_call *call,
		   struct merr *err)
{
	struct announcer *a = NULL;
	int r;

	if (replace(g, plan->id) >= ANNOUNCERS_MAX)
		return merr_set(err, -EBUSY,
				"Guest '%s' is being announced by %u timers already; use their ids "
				"again",
				g->name, ANNOUNCERS_MAX);
	if (plan->rounds == 0) {
		if (call)
			qmp_return(call, NULL);
		return 0;
	}
	r = announcer_new(g, plan, &a, err);
	if (r < 0)
		return r;
	r = send_round(a, err);
	if (r < 0) {
		(void)announcer_free(a);
		return r;
	}
	a->call = call;
	TAILQ_INSERT_TAIL(&g->announcers, a, entry);
	return 0;
}

void announce_arrival(struct guest *g)
{
	const struct migration_parameters *p = &g->parameters;
	struct announce_plan plan = {
		.initial_ms = p->announce_initial,
		.max_ms = p->announce_max,
		.step_ms = p->announce_step,
		.rounds = p->announce_rounds,
	};
	struct merr err = MERR_INIT;

	if (announce_start(g, &plan, NULL, &err) < 0)
		log_debug("not announced guest='%s': %s", g->name, merr_msg(&err));
}

void announce_end(struct guest *g)
{
	struct announcer *a;

	while ((a = TAILQ_FIRST(&g->announcers)))
		drop(a);
}

/* Its numbers have the ranges of the parameters. */
static int check_ranges(const struct announce_self_args *args, struct merr *err)
{
	struct migration_parameters p = {
		.has_announce_initial = true,
		.announce_initial = args->initial,
		.has_announce_max = true,
		.announce_max = args->max,
		.has_announce_rounds = true,
		.announce_rounds = args->rounds,
		.has_announce_step = true,
		.announce_step = args->step,
	};

	return migration_parameters_check(&p, err);
}

void cmd_announce_self(struct qmp_call *call, const struct announce_self_args *args)
{
	struct guest *g = scope_guest(call, args->has_guest, args->guest);
	struct announce_plan plan = {
		.initial_ms = args->initial,
		.max_ms = args->max,
		.step_ms = args->step,
		.rounds = args->rounds,
		.id = args->has_id ? args->id : "",
		.interfaces = (const char *const *)args->interfaces,
		.n_interfaces = args->n_interfaces,
	};
	struct merr err = MERR_INIT;

	if (!g)
		return;
	if (check_ranges(args, &err) < 0 || announce_start(g, &plan, call, &err) < 0)
		qmp_fail(call, &err);
}
