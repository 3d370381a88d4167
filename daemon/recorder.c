/* SPDX-License-Identifier: Apache-2.0 */
/* Samples and stalls of the migrations that run. */
#include "daemon/recorder.h"

#include "base/clock.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/history.h"
#include "daemon/migration.h"
#include "daemon/record.h"
#include "daemon/registry.h"
#include "daemon/timer.h"

#define LOOK_MS	     100U
#define STALL_NS     (200 * NS_PER_MS)
/* What a daemon that is killed takes with it: of numbers, and of what happens. Writing a long record takes milliseconds. */
#define SAVE_NS	     (10 * NS_PER_SEC)
#define SAVE_SOON_NS NS_PER_SEC

#define IN(status) (1U << MIGRATION_STATUS_##status)
/* Something is on its way. */
#define MOVING (IN(ACTIVE) | IN(DEVICE) | IN(CANCELLING) | IN(POSTCOPY_DEVICE) | IN(POSTCOPY_ACTIVE) | IN(POSTCOPY_RECOVER))
/* Memory is. */
#define MOVES_MEMORY (IN(ACTIVE) | IN(POSTCOPY_ACTIVE))
/* The guest stands still: nothing that can wait is done now. */
#define STANDS_STILL (IN(DEVICE) | IN(POSTCOPY_DEVICE))

static bool status_in(const struct migration *m, uint32_t set)
{
	return (set >> m->status & 1) != 0;
}

bool recorder_watches(const struct migration *m)
{
	return m == m->guest->migration && status_in(m, MOVING) && !m->in_doubt && !m->record->blind;
}

static bool is_watched(const struct migration *m)
{
	return m && m->record && recorder_watches(m);
}

/* Of post-copy's background a limit is not measured. */
static bool has_to_move(const struct migration *m)
{
	if (!status_in(m, MOVES_MEMORY))
		return false;
	if (m->direction == WORKER_DIRECTION_INCOMING)
		return m->status == MIGRATION_STATUS_ACTIVE || stats_get(m->stats, missing_pages) > 0;
	if (m->status == MIGRATION_STATUS_POSTCOPY_ACTIVE && m->guest->parameters.max_postcopy_bandwidth > 0)
		return false;
	return stats_get(m->stats, remaining_bytes) > 0;
}

/* What is sure: from a look at which something had come through to the last one at which nothing more had. */
static void end_stall(struct migration *m, uint64_t until_ns)
{
	struct record *r = m->record;

	if (r->moved_ns && until_ns >= r->moved_ns + STALL_NS)
		record_stall(m, r->moved_ns, until_ns);
	r->moved_ns = 0;
}

static void watch_for_stalls(struct migration *m, uint64_t now)
{
	struct record *r = m->record;
	uint64_t bytes = record_transferred(m), limited_us = stats_get(m->stats, limited_us);
	bool has_to = has_to_move(m);

	if (bytes != r->moved_bytes || limited_us != r->limited_us || !has_to)
		end_stall(m, r->looked_ns);
	if (!r->moved_ns && has_to)
		r->moved_ns = now;
	r->moved_bytes = bytes;
	r->limited_us = limited_us;
	r->looked_ns = now;
}

static void save_now_and_then(struct migration *m, uint64_t now)
{
	struct record *r = m->record;

	if (!status_in(m, STANDS_STILL) && now - r->saved_ns >= (r->unsaved ? SAVE_SOON_NS : SAVE_NS))
		history_save(m->guest->daemon->history, m);
}

static void look_at(struct migration *m, uint64_t now)
{
	struct record *r = m->record;

	watch_for_stalls(m, now);
	if (r->sample_every_ns == 0)
		r->sample_every_ns = LOOK_MS * NS_PER_MS;
	/* A timer that comes early by a hair is not to wait for the next one. */
	if (now - r->sampled_ns + LOOK_MS * NS_PER_MS / 2 >= r->sample_every_ns) {
		record_sample(m);
		r->sampled_ns = now;
	}
	save_now_and_then(m, now);
}

static void on_look(evutil_socket_t fd, short what, void *opaque)
{
	struct daemon *d = opaque;
	uint64_t now = clock_now_ns();
	const struct guest *g;

	(void)fd;
	(void)what;
	d->record_timer = timer_free(d->record_timer);
	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (is_watched(g->migration))
			look_at(g->migration, now);
	recorder_review(d);
}

void recorder_leave(struct migration *m)
{
	if (recorder_watches(m))
		return;
	end_stall(m, record_transferred(m) == m->record->moved_bytes ? clock_now_ns() : m->record->looked_ns);
}

void recorder_review(struct daemon *d)
{
	const struct guest *g;

	if (d->record_timer)
		return;
	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (is_watched(g->migration)) {
			d->record_timer = timer_start(d->base, LOOK_MS, on_look, d);
			return;
		}
}

void recorder_done(struct daemon *d)
{
	d->record_timer = timer_free(d->record_timer);
}
