/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for its turn, and who has it. */
#include "daemon/queue.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/journal.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "daemon/outgoing.h"
#include "daemon/record.h"
#include "daemon/registry.h"
#include "daemon/timer.h"

/* Preflights move nothing, and an update of this host's software (docs/cpr.md) moves no memory: neither waits, nor counts. */
static bool counts(const struct migration *m)
{
	return !m->preflight_only && m->mig_mode == MIG_MODE_NORMAL;
}

static bool waits(const struct migration *m, enum worker_direction direction)
{
	return m && m->direction == direction && m->waits && m->status == MIGRATION_STATUS_SETUP;
}

/* One in doubt, or whose worker is lost, transfers nothing. A destination that listens has its turn when a source comes. */
static bool has_turn(const struct migration *m, enum worker_direction direction)
{
	if (!m || m->direction != direction || !migration_running(m) || !counts(m) || m->waits || m->orphaned ||
	    m->in_doubt || m->mode != WORKER_MODE_FRESH)
		return false;
	return direction == WORKER_DIRECTION_OUTGOING || m->ticket || m->status != MIGRATION_STATUS_SETUP;
}

static bool is_before(const struct migration *a, const struct migration *b)
{
	return a->priority != b->priority ? a->priority > b->priority : a->arrival < b->arrival;
}

/* How many FN says true of; BEFORE is not NULL: only those whose turn comes before its. */
static uint32_t count(const struct daemon *d, enum worker_direction direction,
		      bool (*fn)(const struct migration *m, enum worker_direction direction),
		      const struct migration *before)
{
	const struct guest *g;
	uint32_t n = 0;

	TAILQ_FOREACH(g, &d->registry->guests, entry)
		n += fn(g->migration, direction) && (!before || is_before(g->migration, before));
	return n;
}

static uint32_t limit_of(const struct daemon *d, enum worker_direction direction)
{
	return direction == WORKER_DIRECTION_OUTGOING ? d->host.max_outgoing : d->host.max_incoming;
}

/* The next one that can begin: no source whose VMM is on its way back to a new daemon. A destination has its worker. */
static struct migration *next(const struct daemon *d, enum worker_direction direction)
{
	struct migration *best = NULL;
	struct guest *g;

	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (waits(g->migration, direction) && (direction == WORKER_DIRECTION_INCOMING || guest_attached(g)) &&
		    (!best || is_before(g->migration, best)))
			best = g->migration;
	return best;
}

static void begin(struct migration *m)
{
	m->waits = false;
	record_waits(m, false);
	log_info("its turn has come guest='%s' mig=%s", m->guest->name, m->id);
	if (m->direction == WORKER_DIRECTION_OUTGOING)
		outgoing_begin(m);
	else
		link_admitted(m);
}

static void advance(struct daemon *d, enum worker_direction direction)
{
	uint32_t limit = limit_of(d, direction);
	struct migration *m;

	while ((m = next(d, direction)) && (!limit || count(d, direction, has_turn, NULL) < limit))
		begin(m);
}

static void on_review(evutil_socket_t fd, short what, void *opaque)
{
	struct daemon *d = opaque;

	(void)fd;
	(void)what;
	d->queue_timer = timer_free(d->queue_timer);
	advance(d, WORKER_DIRECTION_OUTGOING);
	advance(d, WORKER_DIRECTION_INCOMING);
}

void queue_review(struct daemon *d)
{
	if (!d->queue_timer)
		d->queue_timer = timer_start(d->base, 0, on_review, d);
}

bool queue_is_needed(const struct migration *m)
{
	const struct daemon *d = m->guest->daemon;
	uint32_t limit = limit_of(d, m->direction);

	/* Nobody overtakes who waits already and is about to begin. */
	return limit && counts(m) &&
	       count(d, m->direction, has_turn, NULL) + count(d, m->direction, waits, NULL) >= limit;
}

static void arrive(struct migration *m)
{
	m->waits = true;
	m->arrival = ++m->guest->daemon->arrivals;
	record_waits(m, true);
	log_info("it waits for its turn, number %u guest='%s' mig=%s", queue_position(m), m->guest->name, m->id);
	queue_review(m->guest->daemon);
}

int queue_enter(struct migration *m, struct merr *err)
{
	arrive(m);
	return journal_write(m, err);
}

void queue_restore(struct migration *m, uint64_t arrival)
{
	struct daemon *d = m->guest->daemon;

	m->waits = true;
	m->arrival = arrival;
	record_waits(m, true);
	d->arrivals = max_u64(d->arrivals, arrival);
}

void queue_ask(struct migration *m, uint32_t ticket)
{
	if (ticket && ticket == m->ticket)
		return; /* told twice, by a worker that found us just then */
	m->ticket = ticket;
	m->waits = false;
	record_waits(m, false);
	if (ticket && !counts(m))
		link_admitted(m);
	else if (ticket)
		arrive(m);
	queue_review(m->guest->daemon);
}

uint32_t queue_position(const struct migration *m)
{
	if (!waits(m, m->direction))
		return 0;
	return count(m->guest->daemon, m->direction, waits, m) + 1;
}

static int compare(const void *a, const void *b)
{
	const struct migration *const *x = a, *const *y = b;

	return is_before(*x, *y) ? -1 : is_before(*y, *x);
}

int queue_list(const struct daemon *d, enum worker_direction direction, const struct migration ***ret, size_t *ret_n)
{
	const struct migration **list = calloc(d->registry->n_guests + 1, sizeof(*list));
	const struct guest *g;
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (waits(g->migration, direction))
			list[n++] = g->migration;
	qsort(list, n, sizeof(*list), compare);
	*ret = list;
	*ret_n = n;
	return 0;
}

uint32_t queue_length(const struct migration *m)
{
	return count(m->guest->daemon, m->direction, waits, NULL);
}

void queue_done(struct daemon *d)
{
	d->queue_timer = timer_free(d->queue_timer);
}
