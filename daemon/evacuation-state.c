/* SPDX-License-Identifier: Apache-2.0 */
/* Where an evacuation stands. */
#include "daemon/evacuation-state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/json.h"

#define STORE_VERSION 1

static int compare_names(const void *key, const void *member)
{
	return strcmp(key, ((const struct leaver *)member)->shown.guest);
}

struct leaver *evacuation_state_find(const struct evacuation_state *s, const char *name)
{
	return s->n ? bsearch(name, s->leavers, s->n, sizeof(*s->leavers), compare_names) : NULL;
}

int evacuation_state_add(struct evacuation_state *s, const char *name, uint64_t memory)
{
	struct leaver *more = reallocarray(s->leavers, s->n + 1, sizeof(*more));
	char *copy = strdup(name);
	size_t at = 0;

	if (more)
		s->leavers = more;
	if (!more || !copy) {
		free(copy);
		return -ENOMEM;
	}
	while (at < s->n && strcmp(s->leavers[at].shown.guest, name) < 0)
		at++;
	memmove(&s->leavers[at + 1], &s->leavers[at], (s->n - at) * sizeof(*more));
	s->leavers[at] = (struct leaver){ .shown = { .guest = copy, .state = EVACUATION_GUEST_STATE_WAITING, .memory = memory },
					  .destination = -1 };
	s->n++;
	return 0;
}

bool evacuation_state_active(const struct evacuation_state *s)
{
	return s->status == EVACUATION_STATUS_RUNNING || s->status == EVACUATION_STATUS_CANCELLING;
}

bool leaver_open(const struct leaver *l)
{
	return l->shown.state == EVACUATION_GUEST_STATE_WAITING || l->shown.state == EVACUATION_GUEST_STATE_MIGRATING;
}

void evacuation_state_totals(const struct evacuation_state *s, struct evacuation_totals *ret)
{
	*ret = (struct evacuation_totals){ .status = s->status, .total = (uint32_t)s->n };
	for (size_t i = 0; i < s->n; i++) {
		const struct evacuation_guest *g = &s->leavers[i].shown;

		ret->memory += g->memory;
		ret->waiting += g->state == EVACUATION_GUEST_STATE_WAITING;
		ret->migrating += g->state == EVACUATION_GUEST_STATE_MIGRATING;
		ret->completed += g->state == EVACUATION_GUEST_STATE_COMPLETED;
		ret->memory_moved += g->state == EVACUATION_GUEST_STATE_COMPLETED ? g->memory : 0;
	}
	ret->stayed = ret->total - ret->waiting - ret->migrating - ret->completed;
}

/* Borrows all: to be read only, and freed by free(ret->guests). */
static int get_info(const struct evacuation_state *s, struct evacuation_info *ret)
{
	*ret = (struct evacuation_info){ .guests = calloc(s->n + 1, sizeof(*ret->guests)), .n_guests = s->n };
	if (!ret->guests)
		return -ENOMEM;
	evacuation_state_totals(s, &ret->totals);
	for (size_t i = 0; i < s->n; i++)
		ret->guests[i] = s->leavers[i].shown;
	return 0;
}

json_t *evacuation_state_info(const struct evacuation_state *s)
{
	struct evacuation_info info;
	json_t *o = get_info(s, &info) == 0 ? evacuation_info_to_json(&info) : NULL;

	free(info.guests);
	return o;
}

void leaver_leave_destination(struct evacuation_state *s, struct leaver *l)
{
	if (l->destination < 0)
		return;
	s->load.guests[l->destination]--;
	s->load.memory[l->destination] -= l->shown.memory;
	l->destination = -1;
}

int leaver_take_destination(struct evacuation_state *s, struct leaver *l, int destination)
{
	char *copy = strdup(s->plan.destinations[destination].uri);

	if (!copy)
		return -ENOMEM;
	free(l->shown.destination);
	l->shown.destination = copy;
	l->shown.has_destination = true;
	l->destination = destination;
	s->load.guests[destination]++;
	s->load.memory[destination] += l->shown.memory;
	return 0;
}

void evacuation_state_clear(struct evacuation_state *s)
{
	for (size_t i = 0; i < s->n; i++)
		evacuation_guest_done(&s->leavers[i].shown);
	free(s->leavers);
	evacuation_plan_done(&s->plan);
	*s = (struct evacuation_state){ .status = EVACUATION_STATUS_NONE };
}

json_t *evacuation_state_save(const struct evacuation_state *s)
{
	return json_pack("{s:i, s:o, s:o}", "version", STORE_VERSION, "plan", evacuation_plan_to_json(&s->plan), "info",
			 evacuation_state_info(s));
}

static int restore_guests(struct evacuation_state *s, const struct evacuation_info *info)
{
	for (size_t i = 0; i < info->n_guests; i++) {
		const struct evacuation_guest *g = &info->guests[i];
		struct leaver *l;
		int d;

		if (evacuation_state_add(s, g->guest, g->memory) < 0 || !(l = evacuation_state_find(s, g->guest)))
			return -ENOMEM;
		l->restored = true;
		l->shown.state = g->state;
		l->shown.tries = g->tries;
		l->shown.error = g->has_error ? strdup(g->error) : NULL;
		l->shown.has_error = l->shown.error != NULL;
		d = g->has_destination ? evacuation_plan_find(&s->plan, g->destination) : -1;
		if (d < 0)
			continue;
		if (leaver_take_destination(s, l, d) < 0)
			return -ENOMEM;
		if (!leaver_open(l) && g->state != EVACUATION_GUEST_STATE_COMPLETED)
			leaver_leave_destination(s, l);
	}
	return 0;
}

int evacuation_state_restore(struct evacuation_state *s, json_t *saved, struct merr *err)
{
	struct evacuation_info info = { 0 };
	json_t *plan, *said;
	json_error_t why;
	int version, r;

	evacuation_state_clear(s);
	if (json_unpack_ex(saved, &why, 0, "{s:i, s:o, s:o}", "version", &version, "plan", &plan, "info", &said) < 0)
		return merr_set(err, -EBADMSG, "%s", why.text);
	if (version != STORE_VERSION)
		return merr_set(err, -ENOTSUP, "version %d is not known to this migd, which writes %d", version, STORE_VERSION);
	r = evacuation_plan_from_json(plan, &s->plan, err);
	if (r == 0)
		r = evacuation_plan_verify(&s->plan, err);
	if (r == 0)
		r = evacuation_info_from_json(said, &info, err);
	if (r == 0)
		r = restore_guests(s, &info);
	if (r == 0)
		s->status = info.totals.status;
	evacuation_info_done(&info);
	return r;
}
