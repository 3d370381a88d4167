/* SPDX-License-Identifier: Apache-2.0 */
/* The record of one migration: what happened. */
#include "daemon/record.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/history.h"
#include "daemon/migration.h"
#include "daemon/recorder.h"
#include "daemon/version.h"
#include "transport/sock.h"

static uint64_t at_us(const struct record *r, uint64_t ns)
{
	return ns > r->start_ns ? (ns - r->start_ns) / NS_PER_US : 0;
}

/* ---- bounded lists ---- */

/* N elements of SIZE in LIST, and one more if it is not full: else the one in the middle goes, so that both ends are kept. */
static void *add(void *list, size_t *n, size_t max, size_t size, void (*done)(void *element))
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
#define ADD(d, list, max, done) add(&(d)->list, &(d)->n_##list, max, sizeof(*(d)->list), done)

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

/* Kept soon by the recorder if that looks anyway; else at once, for nobody comes by. */
static void changed(struct migration *m)
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
	p = ADD(d, phases, RECORD_PHASES_MAX, NULL);
	if (p)
		*p = (struct record_phase){ m->status, at_us(m->record, clock_now_ns()) };
}

static bool is_over(const struct migration *m)
{
	return !migration_running(m);
}

bool record_is_over(enum migration_status status)
{
	return status == MIGRATION_STATUS_COMPLETED || status == MIGRATION_STATUS_FAILED || status == MIGRATION_STATUS_CANCELLED;
}

void record_status(struct migration *m)
{
	if (!m->record && m->status == MIGRATION_STATUS_SETUP && !m->preflight_only)
		begin(m);
	if (!m->record)
		return;
	add_phase(m);
	recorder_leave(m);
	if (is_over(m) && !m->record->blind)
		record_sample(m);
	changed(m);
	recorder_review(m->guest->daemon);
}

static void event_done(void *element)
{
	record_event_done(element);
}

/* A cut text must not end within a character. */
static void trim_cut(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && ((unsigned char)text[len - 1] & 0x80))
		text[--len] = '\0';
}

/* In its place: what a worker did while no daemon ran is older than what the next one noted. */
static void put_in_order(struct migration_record *d)
{
	for (size_t i = d->n_events - 1; i > 0 && d->events[i].at < d->events[i - 1].at; i--) {
		struct record_event later = d->events[i - 1];

		d->events[i - 1] = d->events[i];
		d->events[i] = later;
	}
}

static void add_event(struct migration *m, enum record_event_kind kind, uint64_t at, const char *text)
{
	struct record_event *e = NULL;
	char *copy = strdup(text);

	if (copy)
		e = ADD(&m->record->data, events, RECORD_EVENTS_MAX, event_done);
	if (!e) {
		free(copy);
		return;
	}
	*e = (struct record_event){ .at = at, .kind = kind, .text = copy };
	put_in_order(&m->record->data);
	changed(m);
}

void record_event(struct migration *m, enum record_event_kind kind, const char *fmt, ...)
{
	char text[RECORD_TEXT_MAX];
	va_list ap;
	int n;

	if (!m || !m->record)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		trim_cut(text);
	add_event(m, kind, at_us(m->record, clock_now_ns()), text);
}

/* The last one of KIND, or the one at AT (0: whenever). */
static const struct record_event *last_event(const struct migration_record *d, enum record_event_kind kind, uint64_t at)
{
	for (size_t i = d->n_events; i > 0; i--)
		if (d->events[i - 1].kind == kind && (!at || d->events[i - 1].at == at))
			return &d->events[i - 1];
	return NULL;
}

void record_decision(struct migration *m, const struct migration_decision *decision)
{
	uint64_t at;
	char text[RECORD_TEXT_MAX];

	if (!m->record)
		return;
	at = at_us(m->record, stats_get(m->stats, start_ns) + decision->time * NS_PER_MS);
	if (last_event(&m->record->data, RECORD_EVENT_KIND_DECISION, at))
		return;
	if (snprintf(text, sizeof(text), "%s: %s", migration_decision_kind_str(decision->decision), decision->reason) >=
	    (int)sizeof(text))
		trim_cut(text);
	add_event(m, RECORD_EVENT_KIND_DECISION, at, text);
}

void record_handover(struct migration *m)
{
	const struct record_event *last = m->record ? last_event(&m->record->data, RECORD_EVENT_KIND_HANDOVER, 0) : NULL;
	char text[RECORD_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "%s%s", handover_phase_str(m->phase), m->in_doubt ? ", in doubt" : "");
	if (!last || strcmp(last->text, text) != 0)
		record_event(m, RECORD_EVENT_KIND_HANDOVER, "%s", text);
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
	changed(m);
}

/* ---- passes ---- */

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static uint64_t per_second(uint64_t n, uint64_t us)
{
	return us ? (uint64_t)((double)n * 1e6 / (double)us) : 0;
}

/* The last pass until NOW. */
static void update_pass(struct record *r, const struct worker_pass_begin *now)
{
	struct record_pass *p = &r->data.passes[r->data.n_passes - 1];

	p->duration = grown(now->time, r->open.time);
	p->normal_pages = grown(now->normal_pages, r->open.normal_pages);
	p->zero_pages = grown(now->zero_pages, r->open.zero_pages);
	p->bytes = grown(now->bytes, r->open.bytes);
	p->bandwidth = per_second(p->bytes, p->duration);
	p->throttle = now->throttle;
}

void record_pass(struct migration *m, const struct worker_pass *pass)
{
	struct record *r = m->record;
	struct record_pass *p;

	if (!r || !pass->has_begin)
		return;
	if (r->is_open)
		update_pass(r, &pass->begin);
	p = ADD(&r->data, passes, RECORD_PASSES_MAX, NULL);
	if (!p)
		return;
	*p = (struct record_pass){
		.pass = pass->pass,
		.at = at_us(r, pass->begin.time * NS_PER_US),
		.dirtied_pages = pass->begin.dirtied_pages,
		.dirty_pages_rate = pass->begin.dirty_pages_rate,
	};
	r->open = pass->begin;
	r->is_open = true;
	r->unsaved = true;
}

/* The pass that runs, or ran last: what the statistics say by now. */
static void refresh_pass(const struct migration *m)
{
	const struct stats_page *st = m->stats;
	uint64_t end_ns = stats_get(st, last_pass_end_ns), over_ns = stats_get(st, end_ns);
	bool postcopy = stats_get(st, postcopied) != 0;
	struct worker_pass_begin now = {
		.throttle = (uint32_t)min_u64(stats_get(st, throttle_percent), 100),
		.normal_pages = stats_get(st, normal_pages),
		.zero_pages = stats_get(st, duplicate_pages),
		.bytes = stats_get(st, transferred_bytes),
	};

	if (!m->record->is_open)
		return;
	if (end_ns && !postcopy)
		now.bytes = stats_get(st, last_pass_end_bytes);
	else
		end_ns = over_ns ? over_ns : clock_now_ns();
	now.time = end_ns / NS_PER_US;
	update_pass(m->record, &now);
}

/* ---- samples ---- */

uint64_t record_transferred(const struct migration *m)
{
	return m->direction == WORKER_DIRECTION_OUTGOING ? stats_get(m->stats, transferred_bytes) :
							   stats_get(m->stats, received_bytes);
}

static uint64_t remaining(const struct migration *m)
{
	if (m->direction == WORKER_DIRECTION_INCOMING)
		return stats_get(m->stats, missing_pages) * 4096;
	return m->status == MIGRATION_STATUS_COMPLETED ? 0 : stats_get(m->stats, remaining_bytes);
}

/* The samples' speeds are since the one before, whichever that is. */
static void measure(struct migration_record *d, size_t i)
{
	struct record_sample *s = &d->samples[i];
	uint64_t at = i > 0 ? d->samples[i - 1].at : 0, bytes = i > 0 ? d->samples[i - 1].transferred : 0;

	s->bandwidth = per_second(grown(s->transferred, bytes), grown(s->at, at));
}

/* Every other one goes, and they come half as often from now on. */
static void thin_out(struct record *r)
{
	struct migration_record *d = &r->data;
	size_t n = 0;

	for (size_t i = 0; i < d->n_samples; i += 2)
		d->samples[n++] = d->samples[i];
	d->n_samples = n;
	for (size_t i = 1; i < n; i++)
		measure(d, i);
	r->sample_every_ns *= 2;
}

void record_sample(struct migration *m)
{
	const struct stats_page *st = m->stats;
	struct record *r = m->record;
	struct record_sample *s;

	if (r->data.n_samples == RECORD_SAMPLES_MAX)
		thin_out(r);
	s = ADD(&r->data, samples, RECORD_SAMPLES_MAX, NULL);
	if (!s)
		return;
	*s = (struct record_sample){
		.at = at_us(r, clock_now_ns()),
		.transferred = record_transferred(m),
		.remaining = remaining(m),
		.dirty_pages_rate = stats_get(st, dirty_pages_rate),
		.throttle = (uint32_t)min_u64(stats_get(st, throttle_percent), 100),
		.faults = m->direction == WORKER_DIRECTION_OUTGOING ? stats_get(st, postcopy_requests) :
								      stats_get(st, faults),
	};
	measure(&r->data, r->data.n_samples - 1);
}

void record_stall(struct migration *m, uint64_t since_ns, uint64_t until_ns)
{
	struct migration_record *d = &m->record->data;
	struct record_stall *s;

	if (d->n_stalls == RECORD_STALLS_MAX)
		return;
	s = ADD(d, stalls, RECORD_STALLS_MAX, NULL);
	if (s)
		*s = (struct record_stall){ at_us(m->record, since_ns), (until_ns - since_ns) / NS_PER_US };
}

/* ---- the numbers ---- */

static void refresh_error(const struct migration *m, struct migration_record *d)
{
	char *copy = merr_is_set(&m->error) ? strdup(merr_msg(&m->error)) : NULL;

	/* Whoever took over what had failed may not have been told why. */
	if (!copy && is_over(m) && m->status != MIGRATION_STATUS_COMPLETED)
		return;
	free(d->error_desc);
	d->error_desc = copy;
	d->has_error_desc = copy != NULL;
}

/* A former worker rounded it. */
static uint64_t downtime_us(const struct stats_page *st)
{
	uint64_t us = stats_get(st, downtime_us);

	return us ? us : stats_get(st, downtime_ms) * 1000;
}

/* The blackout is over, and was measured; the destination's, what it knows of it. */
static bool has_blackout(const struct migration *m)
{
	if (m->direction == WORKER_DIRECTION_OUTGOING)
		return downtime_us(m->stats) > 0;
	return stats_get(m->stats, blackout_start_ns) > 0 &&
	       (m->status == MIGRATION_STATUS_COMPLETED || stats_get(m->stats, postcopied) != 0);
}

static void refresh_blackout(const struct migration *m, struct migration_record *d)
{
	const struct stats_page *st = m->stats;
	struct record_blackout *b = &d->blackout;
	bool outgoing = m->direction == WORKER_DIRECTION_OUTGOING;

	d->has_blackout = has_blackout(m);
	if (!d->has_blackout)
		return;
	*b = (struct record_blackout){
		.at = at_us(m->record, stats_get(st, blackout_start_ns)),
		.pause = stats_get(st, blackout_pause_us),
		.hold = stats_get(st, blackout_hold_us),
		.save = stats_get(st, blackout_save_us),
		.sync = stats_get(st, blackout_sync_us),
		.ram = stats_get(st, blackout_ram_us),
		.transfer = stats_get(st, blackout_transfer_us),
		.load = stats_get(st, blackout_load_us),
		.commit = stats_get(st, blackout_commit_us),
		.resume = stats_get(st, blackout_resume_us),
	};
	b->total = outgoing ? downtime_us(st) : b->ram + b->transfer + b->load + b->commit + b->resume;
	d->has_downtime = outgoing;
	d->downtime = downtime_us(st);
}

static void refresh_numbers(struct migration *m, struct migration_record *d)
{
	d->transferred = record_transferred(m);
	refresh_blackout(m, d);
	refresh_pass(m);
	d->has_ram = m->direction == WORKER_DIRECTION_OUTGOING;
	if (d->has_ram)
		migration_ram(m, &d->ram);
}

void record_refresh(struct migration *m)
{
	struct record *r = m->record;
	struct migration_record *d = &r->data;
	uint64_t end_ns = stats_get(m->stats, end_ns), now = clock_now_ns();

	/* It is over, and only its worker has yet to be heard. */
	if (r->blind && record_is_over(d->status) && !is_over(m))
		return;
	if (!r->blind || is_over(m))
		d->status = m->status;
	d->duration = at_us(r, is_over(m) && end_ns ? end_ns : now);
	d->tls |= m->tls != NULL;
	d->priority = m->priority;
	if (r->waits_ns) {
		d->queued += (now - r->waits_ns) / NS_PER_US;
		r->waits_ns = now;
	}
	refresh_error(m, d);
	if (!r->blind)
		refresh_numbers(m, d);
}

struct migration_history_entry record_entry(const struct migration_record *d)
{
	return (struct migration_history_entry){
		.id = d->id,
		.guest = d->guest,
		.uuid = d->uuid,
		.direction = d->direction,
		.uri = d->uri,
		.started = d->started,
		.duration = d->duration,
		.status = d->status,
		.has_error_desc = d->has_error_desc,
		.error_desc = d->error_desc,
		.transferred = d->transferred,
		.has_downtime = d->has_downtime,
		.downtime = d->downtime,
	};
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
	changed(m);
	recorder_review(m->guest->daemon);
}
