/* SPDX-License-Identifier: Apache-2.0 */
/* The record of one migration: its beginning, its phases, and who goes on with it. */
#include "daemon/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/history.h"
#include "daemon/migration.h"
#include "daemon/record-internal.h"
#include "daemon/recorder.h"
#include "daemon/version.h"
#include "transport/sock.h"

/* 16: what an allocation takes besides. */
_Static_assert(RECORD_PHASES_MAX * sizeof(struct record_phase) + RECORD_PASSES_MAX * sizeof(struct record_pass) +
		       RECORD_SAMPLES_MAX * sizeof(struct record_sample) + RECORD_STALLS_MAX * sizeof(struct record_stall) +
		       RECORD_EVENTS_MAX * (sizeof(struct record_event) + RECORD_TEXT_MAX + 16) <= RECORD_BYTES_MAX,
	       "a record's lists take no more than is said");

uint64_t record_at_us(const struct record *r, uint64_t ns)
{
	uint64_t now = clock_now_ns();

	/* Workers' times are believed up to now. */
	ns = min_u64(ns, now);
	return ns > r->start_ns ? (ns - r->start_ns) / NS_PER_US : 0;
}

void *record_add(void *list, size_t *n, size_t max, size_t size, void (*done)(void *element))
{
	char *elements, *middle;

	if (*n < max) {
		elements = realloc(*(void **)list, (*n + 1) * size);
		if (!elements)
			return NULL;
		*(void **)list = elements;
	} else {
		elements = *(void **)list;
		middle = elements + max / 2 * size;
		if (done)
			done(middle);
		memmove(middle, middle + size, (max - max / 2 - 1) * size);
		--*n;
	}
	return memset(elements + (*n)++ * size, 0, size);
}

/* ---- its beginning ---- */

static char *host_name(void)
{
	char name[256];

	if (gethostname(name, sizeof(name)) < 0)
		return strdup("");
	name[sizeof(name) - 1] = '\0';
	return strdup(name);
}

static char *uuid_of(const struct guest *g)
{
	char text[UUID_TEXT_LEN];

	uuid_format(g->uuid, text);
	return strdup(text);
}

static int fill_settings(const struct guest *g, struct migration_record *d)
{
	d->capabilities = calloc(MIGRATION_CAPABILITY__MAX, sizeof(*d->capabilities));
	if (!d->capabilities)
		return -ENOMEM;
	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++)
		if (g->capabilities[i])
			d->capabilities[d->n_capabilities++] = (enum migration_capability)i;
	return migration_parameters_copy(&d->parameters, &g->parameters);
}

static int fill_beginning(const struct migration *m, struct migration_record *d)
{
	const struct guest *g = m->guest;
	bool outgoing = m->direction == WORKER_DIRECTION_OUTGOING;

	*d = (struct migration_record){
		.id = strdup(m->id),
		.guest = strdup(g->name),
		.uuid = uuid_of(g),
		.uri = strdup(m->uri),
		.version = strdup(MIGD_VERSION),
		.host = host_name(),
		.direction = outgoing ? MIGRATION_DIRECTION_OUTGOING : MIGRATION_DIRECTION_INCOMING,
		.started = clock_wall_ns() / NS_PER_US,
		.status = m->status,
		.mode = m->mig_mode,
		.has_strategy = outgoing,
		.strategy = m->strategy,
		.has_priority = outgoing,
		.vcpus = g->n_vcpus,
		.memory = g->ram_bytes,
	};
	if (!d->id || !d->guest || !d->uuid || !d->uri || !d->version || !d->host)
		return -ENOMEM;
	return fill_settings(g, d);
}

static void begin(struct migration *m)
{
	struct record *r = calloc(1, sizeof(*r));

	if (!r)
		return;
	r->start_ns = clock_now_ns();
	if (fill_beginning(m, &r->data) < 0) {
		(void)record_free(r);
		return;
	}
	m->record = r;
	/* What is no socket has no other address. */
	if (!addr_is_network(&m->addr) && m->addr.type != ADDR_FD && m->addr.type != ADDR_SHARED)
		record_peer(m, m->uri);
}

struct record *record_free(struct record *r)
{
	if (r)
		migration_record_done(&r->data);
	free(r);
	return NULL;
}

/* ---- what happens ---- */

bool record_is_over(enum migration_status status)
{
	return status == MIGRATION_STATUS_COMPLETED || status == MIGRATION_STATUS_FAILED || status == MIGRATION_STATUS_CANCELLED;
}

/* Kept soon by the recorder if that looks anyway; else at once, for nobody comes by. */
void record_changed(struct migration *m)
{
	m->record->unsaved = true;
	if (!recorder_watches(m))
		history_save(m->guest->daemon->history, m);
}

static void add_phase(struct migration *m)
{
	struct migration_record *d = &m->record->data;
	struct record_phase *p;

	if (d->n_phases > 0 && d->phases[d->n_phases - 1].status == m->status)
		return;
	p = RECORD_ADD(d, phases, RECORD_PHASES_MAX, NULL);
	if (p)
		*p = (struct record_phase){ m->status, record_at_us(m->record, clock_now_ns()) };
}

void record_status(struct migration *m)
{
	if (!m->record && m->status == MIGRATION_STATUS_SETUP && !m->preflight_only)
		begin(m);
	if (!m->record)
		return;
	add_phase(m);
	recorder_leave(m);
	if (!migration_running(m) && !m->record->blind)
		record_sample(m);
	record_changed(m);
	recorder_review(m->guest->daemon);
}

void record_peer(struct migration *m, const char *address)
{
	struct migration_record *d = m->record ? &m->record->data : NULL;
	char *copy;

	if (!d || (d->has_peer && strcmp(d->peer, address) == 0))
		return;
	copy = strdup(address);
	if (!copy)
		return;
	free(d->peer);
	d->peer = copy;
	d->has_peer = true;
}

void record_peer_of(struct migration *m, int fd)
{
	char text[128];

	record_peer(m, sock_peer_name(fd, text, sizeof(text)));
}

void record_waits(struct migration *m, bool waits)
{
	struct record *r = m->record;
	uint64_t now = clock_now_ns();

	if (!r)
		return;
	/* Nothing was sent before its turn: the statistics are right. */
	r->blind &= !waits;
	if (r->waits_ns && !waits)
		r->data.queued += (now - r->waits_ns) / NS_PER_US;
	if (!waits)
		r->waits_ns = 0;
	else if (!r->waits_ns)
		r->waits_ns = now;
	record_changed(m);
}

/* ---- another daemon's ---- */

void record_take_over(struct migration *m, struct record *r)
{
	m->record = r;
	if (!r)
		begin(m);
	if (!m->record)
		return;
	m->record->anew = !r;
	m->record->blind = true;
	if (r && record_is_over(r->data.status))
		return;
	record_event(m, RECORD_EVENT_KIND_DAEMON, "another migd (" MIGD_VERSION ") took over%s",
		     r ? "" : "; there is no record of what was before");
}

/* Its settings are known by now, and when it began. */
static void begin_again(struct migration *m)
{
	struct record *r = m->record;
	uint64_t began_ns = stats_get(m->stats, start_ns), now = clock_now_ns();
	uint64_t ago_us = began_ns && began_ns < now ? (now - began_ns) / NS_PER_US : 0;

	(void)record_free(r);
	m->record = NULL;
	record_take_over(m, NULL);
	if (!m->record)
		return;
	m->record->start_ns -= ago_us * NS_PER_US;
	m->record->data.started -= ago_us;
	m->record->data.events[0].at = ago_us;
	m->record->anew = false;
}

static void catch_up_with_passes(struct migration *m, const struct worker_adopt *a)
{
	const struct migration_record *d = &m->record->data;

	for (size_t i = 0; a->has_passes && i < a->n_passes; i++)
		if (d->n_passes == 0 || a->passes[i].pass > d->passes[d->n_passes - 1].pass)
			record_pass(m, &a->passes[i]);
}

void record_adopted(struct migration *m, const struct worker_adopt *a)
{
	if (m->preflight_only)
		m->record = record_free(m->record);
	if (m->record && m->record->anew)
		begin_again(m);
	if (!m->record)
		return;
	m->record->blind = false;
	catch_up_with_passes(m, a);
	for (size_t i = 0; i < m->n_decisions; i++)
		record_decision(m, &m->decisions[i]);
	add_phase(m);
	record_changed(m);
	recorder_review(m->guest->daemon);
}
