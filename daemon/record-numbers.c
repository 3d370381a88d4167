/* SPDX-License-Identifier: Apache-2.0 */
/* A migration's numbers: passes, samples, stalls, the blackout, and how it stands. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "daemon/migration.h"
#include "daemon/record-internal.h"

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
	p = RECORD_ADD(&r->data, passes, RECORD_PASSES_MAX, NULL);
	if (!p)
		return;
	*p = (struct record_pass){
		.pass = pass->pass,
		.at = record_at_us(r, pass->begin.time * NS_PER_US),
		.dirtied_pages = pass->begin.dirtied_pages,
		.dirty_pages_rate = pass->begin.dirty_pages_rate,
	};
	r->open = pass->begin;
	r->is_open = true;
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
	s = RECORD_ADD(&r->data, samples, RECORD_SAMPLES_MAX, NULL);
	if (!s)
		return;
	*s = (struct record_sample){
		.at = record_at_us(r, clock_now_ns()),
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
	s = RECORD_ADD(d, stalls, RECORD_STALLS_MAX, NULL);
	if (s)
		*s = (struct record_stall){ record_at_us(m->record, since_ns), (until_ns - since_ns) / NS_PER_US };
}

/* ---- the numbers ---- */

static void refresh_error(const struct migration *m, struct migration_record *d)
{
	char *copy = merr_is_set(&m->error) ? strdup(merr_msg(&m->error)) : NULL;

	/* Whoever took over what had failed may not have been told why. */
	if (!copy && !migration_running(m) && m->status != MIGRATION_STATUS_COMPLETED)
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
		.at = record_at_us(m->record, stats_get(st, blackout_start_ns)),
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
	if (r->blind && record_is_over(d->status) && migration_running(m))
		return;
	if (!r->blind || !migration_running(m))
		d->status = m->status;
	d->duration = record_at_us(r, !migration_running(m) && end_ns ? end_ns : now);
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
