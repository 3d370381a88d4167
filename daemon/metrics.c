/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metrics, and how each comes about. */
#include "daemon/metrics.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "daemon/daemon.h"
#include "daemon/fault-latency.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/openmetrics.h"
#include "daemon/process-stats.h"
#include "daemon/queue.h"
#include "daemon/registry.h"
#include "daemon/timer.h"
#include "daemon/version.h"
#include "migd/guest.h"

#define LAG_PERIOD_MS 250

static const double blackout_bounds[METRICS_BLACKOUT_BOUNDS] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30 };
static const double lag_bounds[METRICS_LAG_BOUNDS] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1 };

static const char *const directions[] = { "outgoing", "incoming" };
static const char *const outcomes[] = { "completed", "failed", "cancelled" };
static const char *const answers[] = { "returned", "error", "refused" };

static unsigned int direction_of(const struct migration *m)
{
	return m->direction == WORKER_DIRECTION_INCOMING;
}

/* ---- counting ---- */

static void count(uint64_t *counts, const double *bounds, size_t n, double v)
{
	size_t i = 0;

	while (i < n && v > bounds[i])
		i++;
	counts[i]++;
}

static double blackout_seconds(const struct stats_page *s)
{
	return (double)(stats_get(s, blackout_pause_us) + stats_get(s, blackout_save_us) + stats_get(s, blackout_sync_us) +
			stats_get(s, blackout_ram_us) + stats_get(s, blackout_transfer_us) + stats_get(s, blackout_load_us) +
			stats_get(s, blackout_commit_us) + stats_get(s, blackout_resume_us)) / 1e6;
}

/* Some migrations have none: a paused guest's, a snapshot's end. */
static void count_blackout(struct metrics_counts *c, const struct migration *m)
{
	double seconds = blackout_seconds(m->stats);
	unsigned int direction = direction_of(m);

	if (seconds <= 0)
		return;
	count(c->blackouts[direction], blackout_bounds, METRICS_BLACKOUT_BOUNDS, seconds);
	c->blackout_seconds[direction] += seconds;
}

void metrics_migration_ended(const struct migration *m)
{
	struct metrics_counts *c = &m->guest->daemon->counts;
	unsigned int direction = direction_of(m);

	switch (m->status) {
	case MIGRATION_STATUS_COMPLETED:
		c->ended[direction][METRICS_COMPLETED]++;
		count_blackout(c, m);
		break;
	case MIGRATION_STATUS_CANCELLED:
		c->ended[direction][METRICS_CANCELLED]++;
		break;
	default:
		c->ended[direction][METRICS_FAILED]++;
	}
}

void metrics_worker_died(struct daemon *d)
{
	d->counts.workers_died++;
}

void metrics_command(struct daemon *d, enum qmp_access access, enum metrics_answer answer)
{
	d->counts.commands[access < QMP_ACCESS__MAX ? access : QMP_ACCESS__MAX][answer]++;
}

static void watch_lag(struct metrics_counts *c)
{
	static const struct timeval period = { .tv_usec = LAG_PERIOD_MS * 1000 };

	c->lag_due_ns = clock_now_ns() + LAG_PERIOD_MS * NS_PER_MS;
	(void)event_add(c->lag_timer, &period);
}

static void on_lag_timer(evutil_socket_t fd, short what, void *opaque)
{
	struct metrics_counts *c = opaque;
	uint64_t now = clock_now_ns();
	double late = now > c->lag_due_ns ? (double)(now - c->lag_due_ns) / 1e9 : 0;

	(void)fd;
	(void)what;
	count(c->lags, lag_bounds, METRICS_LAG_BOUNDS, late);
	c->lag_seconds += late;
	watch_lag(c);
}

void metrics_watch_loop(struct daemon *d, bool on)
{
	struct metrics_counts *c = &d->counts;

	c->lag_timer = timer_free(c->lag_timer);
	if (!on)
		return;
	c->lag_timer = evtimer_new(d->base, on_lag_timer, c);
	if (c->lag_timer)
		watch_lag(c);
}

/* ---- the daemon ---- */

static void collect_build(void *opaque, struct metric_text *out)
{
	(void)opaque;
	metric_sample(out, 1, METRIC_LABELS({ "version", MIGD_VERSION }));
}

static void collect_guests(void *opaque, struct metric_text *out)
{
	const struct daemon *d = opaque;
	size_t n[2] = { 0 };
	const struct guest *g;

	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (guest_attached(g))
			n[g->role == MIGD_GUEST_INCOMING]++;
	metric_sample(out, (double)n[0], METRIC_LABELS({ "role", "running" }));
	metric_sample(out, (double)n[1], METRIC_LABELS({ "role", "incoming" }));
}

/* What a migration that is not over is doing. */
static const char *const running_states[] = { "running", "waiting", "paused", "in-doubt" };

static unsigned int running_state_of(const struct migration *m)
{
	if (m->in_doubt)
		return 3;
	if (m->status == MIGRATION_STATUS_POSTCOPY_PAUSED)
		return 2;
	return m->waits;
}

static void collect_migrations(void *opaque, struct metric_text *out)
{
	size_t n[2][ARRAY_SIZE(running_states)] = { 0 };
	const struct daemon *d = opaque;
	const struct guest *g;

	TAILQ_FOREACH(g, &d->registry->guests, entry)
		if (migration_running(g->migration))
			n[direction_of(g->migration)][running_state_of(g->migration)]++;
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int j = 0; j < ARRAY_SIZE(running_states); j++)
			metric_sample(out, (double)n[i][j],
				      METRIC_LABELS({ "direction", directions[i] }, { "state", running_states[j] }));
}

static void collect_ended(void *opaque, struct metric_text *out)
{
	const struct daemon *d = opaque;

	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int j = 0; j < METRICS_OUTCOMES; j++)
			metric_sample(out, (double)d->counts.ended[i][j],
				      METRIC_LABELS({ "direction", directions[i] }, { "outcome", outcomes[j] }));
}

static void collect_blackouts(void *opaque, struct metric_text *out)
{
	const struct metrics_counts *c = &((const struct daemon *)opaque)->counts;

	for (unsigned int i = 0; i < 2; i++)
		metric_histogram(out, blackout_bounds, c->blackouts[i], METRICS_BLACKOUT_BOUNDS, c->blackout_seconds[i],
				 METRIC_LABELS({ "direction", directions[i] }));
}

static void collect_bandwidth_limit(void *opaque, struct metric_text *out)
{
	metric_sample(out, (double)((const struct daemon *)opaque)->host.max_bandwidth, NULL);
}

static void collect_migration_limits(void *opaque, struct metric_text *out)
{
	const struct daemon *d = opaque;

	metric_sample(out, d->host.max_outgoing, METRIC_LABELS({ "direction", "outgoing" }));
	metric_sample(out, d->host.max_incoming, METRIC_LABELS({ "direction", "incoming" }));
}

static void collect_workers(void *opaque, struct metric_text *out)
{
	const struct daemon *d = opaque;
	const struct guest *g;
	size_t n = 0;

	TAILQ_FOREACH(g, &d->registry->guests, entry)
		n += g->migration && g->migration->worker;
	metric_sample(out, (double)n, NULL);
}

static void collect_worker_deaths(void *opaque, struct metric_text *out)
{
	metric_sample(out, (double)((const struct daemon *)opaque)->counts.workers_died, NULL);
}

static void collect_lag(void *opaque, struct metric_text *out)
{
	const struct metrics_counts *c = &((const struct daemon *)opaque)->counts;

	metric_histogram(out, lag_bounds, c->lags, METRICS_LAG_BOUNDS, c->lag_seconds, NULL);
}

static void collect_scrapes(void *opaque, struct metric_text *out)
{
	metric_sample(out, (double)((const struct daemon *)opaque)->counts.scrapes, NULL);
}

static void collect_clients(void *opaque, struct metric_text *out)
{
	metric_sample(out, qmp_server_n_sessions(((const struct daemon *)opaque)->qmp), NULL);
}

static void collect_dropped(void *opaque, struct metric_text *out)
{
	metric_sample(out, (double)qmp_server_n_dropped(((const struct daemon *)opaque)->qmp), NULL);
}

static void collect_commands(void *opaque, struct metric_text *out)
{
	const struct daemon *d = opaque;
	const char *class;

	for (unsigned int i = 0; i < METRICS_CLASSES; i++)
		for (unsigned int j = 0; j < METRICS_ANSWERS; j++) {
			class = i < QMP_ACCESS__MAX ? qmp_access_str((enum qmp_access)i) : "none";
			metric_sample(out, (double)d->counts.commands[i][j],
				      METRIC_LABELS({ "class", class }, { "outcome", answers[j] }));
		}
}

/* ---- each migration that runs ---- */

typedef double (*migration_value_fn)(const struct migration *m);

/* Of which migrations there are samples. */
enum which { OUTGOING = 1, INCOMING = 2, BOTH = OUTGOING | INCOMING };

static bool is_shown(const struct migration *m, enum which which)
{
	return migration_running(m) && !m->waits && (which & (direction_of(m) ? INCOMING : OUTGOING));
}

static const struct metric_label *labels_of(const struct migration *m, struct metric_label ret[METRIC_LABELS_MAX + 1])
{
	ret[0] = (struct metric_label){ "guest", m->guest->name };
	ret[1] = (struct metric_label){ "direction", directions[direction_of(m)] };
	ret[2] = (struct metric_label){ 0 };
	return ret;
}

/* FN for each, or what a family has of its own. */
static void each(const struct daemon *d, struct metric_text *out, enum which which, migration_value_fn value,
		 void (*fn)(const struct migration *m, struct metric_text *out))
{
	struct metric_label labels[METRIC_LABELS_MAX + 1];
	const struct guest *g;
	unsigned int n = 0;

	TAILQ_FOREACH(g, &d->registry->guests, entry) {
		if (!is_shown(g->migration, BOTH) || n++ >= METRICS_MIGRATIONS_MAX || !is_shown(g->migration, which))
			continue;
		if (fn)
			fn(g->migration, out);
		else
			metric_sample(out, value(g->migration), labels_of(g->migration, labels));
	}
}

static void collect_left_out(void *opaque, struct metric_text *out)
{
	const struct daemon *d = opaque;
	const struct guest *g;
	unsigned int n = 0;

	TAILQ_FOREACH(g, &d->registry->guests, entry)
		n += is_shown(g->migration, BOTH);
	metric_sample(out, n > METRICS_MIGRATIONS_MAX ? n - METRICS_MIGRATIONS_MAX : 0, NULL);
}

/* collect_NAME(): VALUE of each migration M in WHICH direction. */
#define EACH(name, which, value)                                                \
	static double value_##name(const struct migration *m)                   \
	{                                                                       \
		return (double)(value);                                         \
	}                                                                       \
	static void collect_##name(void *opaque, struct metric_text *out)       \
	{                                                                       \
		each(opaque, out, which, value_##name, NULL);                   \
	}
#define STAT(member) stats_get(m->stats, member)

EACH(transferred, BOTH, direction_of(m) ? STAT(received_bytes) : STAT(transferred_bytes))
EACH(remaining, OUTGOING, STAT(remaining_bytes))
EACH(memory, OUTGOING, STAT(total_bytes))
EACH(dirty_rate, OUTGOING, (double)STAT(dirty_pages_rate) * (double)STAT(page_size_bytes))
EACH(bandwidth, OUTGOING, STAT(bandwidth_bps))
EACH(share, OUTGOING, m->share.bps)
EACH(expected_downtime, OUTGOING, (double)STAT(expected_downtime_ms) / 1e3)
EACH(blackout, BOTH, blackout_seconds(m->stats))
EACH(passes, OUTGOING, STAT(dirty_sync_count))
EACH(throttle, OUTGOING, (double)STAT(throttle_percent) / 100)
EACH(reconnects, BOTH, STAT(recoveries))
EACH(postcopy, BOTH, migration_in_postcopy(m))
EACH(requests, OUTGOING, STAT(postcopy_requests))
EACH(missing, INCOMING, (double)STAT(missing_pages) * (double)STAT(page_size_bytes))
EACH(elapsed, OUTGOING, clock_now_ns() > STAT(start_ns) ? (double)(clock_now_ns() - STAT(start_ns)) / 1e9 : 0)

static void add_faults(const struct migration *m, struct metric_text *out)
{
	double bounds[FAULT_LATENCY_CLASSES - 1];
	uint64_t counts[FAULT_LATENCY_CLASSES];
	struct metric_label labels[METRIC_LABELS_MAX + 1];

	fault_latency_distribution(m->stats, counts);
	for (unsigned int i = 0; i < ARRAY_SIZE(bounds); i++)
		bounds[i] = (double)(2ULL << i) / 1e6;
	metric_histogram(out, bounds, counts, ARRAY_SIZE(bounds), (double)STAT(fault_sum_ns) / 1e9, labels_of(m, labels));
}

static void collect_faults(void *opaque, struct metric_text *out)
{
	each(opaque, out, INCOMING, NULL, add_faults);
}

/* ---- the process, by the names that every exporter has ---- */

#define PROCESS(name, value)                                              \
	static void collect_process_##name(void *opaque, struct metric_text *out) \
	{                                                                 \
		struct process_stats p;                                   \
                                                                          \
		(void)opaque;                                             \
		if (process_stats_read(&p) == 0)                          \
			metric_sample(out, (double)(value), NULL);        \
	}

PROCESS(cpu, p.cpu_seconds)
PROCESS(resident, p.resident_bytes)
PROCESS(virtual, p.virtual_bytes)
PROCESS(start, p.start_seconds)
PROCESS(threads, p.threads)

static void collect_process_fds(void *opaque, struct metric_text *out)
{
	(void)opaque;
	metric_sample(out, process_count_fds(), NULL);
}

static void collect_process_max_fds(void *opaque, struct metric_text *out)
{
	(void)opaque;
	metric_sample(out, (double)process_max_fds(), NULL);
}

/* ---- the table: docs/metrics.md has the same ---- */

#define RATE "bytes_per_second"

static const struct metric_family families[] = {
	{ "migd_build", METRIC_INFO, NULL, "This migd.", collect_build },
	{ "migd_guests", METRIC_GAUGE, NULL, "Guests whose VMM is attached, by what they were attached for.", collect_guests },
	{ "migd_migrations", METRIC_GAUGE, NULL, "Migrations that are not over: under way, waiting for their turn, post-copy without a connection, or in doubt.",
	  collect_migrations },
	{ "migd_migrations_ended", METRIC_COUNTER, NULL, "Migrations that ended, since this migd started.", collect_ended },
	{ "migd_migration_blackouts_seconds", METRIC_HISTOGRAM, "seconds",
	  "How long guests stood still in migrations that completed, as far as this side knows.", collect_blackouts },
	{ "migd_migrations_left_out", METRIC_GAUGE, NULL,
	  "Running migrations that have no samples of their own, for there are too many.", collect_left_out },
	{ "migd_migration_transferred_bytes", METRIC_COUNTER, "bytes",
	  "Sent or received by a running migration, on all its channels.", collect_transferred },
	{ "migd_migration_remaining_bytes", METRIC_GAUGE, "bytes", "Memory that a running migration has still to send.",
	  collect_remaining },
	{ "migd_migration_memory_bytes", METRIC_GAUGE, "bytes", "Memory that takes part in a running migration.",
	  collect_memory },
	{ "migd_migration_dirty_" RATE, METRIC_GAUGE, RATE, "Memory that the guest changes, as measured last.",
	  collect_dirty_rate },
	{ "migd_migration_bandwidth_" RATE, METRIC_GAUGE, RATE, "Speed of a running migration, in its last window.",
	  collect_bandwidth },
	{ "migd_migration_share_" RATE, METRIC_GAUGE, RATE,
	  "Part of the host's bandwidth that a running migration may use; 0: no limit.", collect_share },
	{ "migd_migration_expected_downtime_seconds", METRIC_GAUGE, "seconds",
	  "How long the guest would stand still if it were switched over now.", collect_expected_downtime },
	{ "migd_migration_blackout_seconds", METRIC_GAUGE, "seconds",
	  "How long the guest of a running migration has stood still for it; 0: not yet.", collect_blackout },
	{ "migd_migration_elapsed_seconds", METRIC_GAUGE, "seconds", "Since the running migration was begun.",
	  collect_elapsed },
	{ "migd_migration_passes", METRIC_COUNTER, NULL, "How often the dirty bitmap was fetched by a running migration.",
	  collect_passes },
	{ "migd_migration_throttle_ratio", METRIC_GAUGE, "ratio",
	  "How much of their time the guest's vCPUs are kept from running, 0 to 1.", collect_throttle },
	{ "migd_migration_reconnects", METRIC_COUNTER, NULL, "Lost connections that a running migration replaced.",
	  collect_reconnects },
	{ "migd_migration_in_postcopy", METRIC_GAUGE, NULL,
	  "1: the guest runs on the target while its memory still comes; 0: it does not.", collect_postcopy },
	{ "migd_migration_postcopy_requests", METRIC_COUNTER, NULL, "Pages that the target of a post-copy asked for.",
	  collect_requests },
	{ "migd_migration_postcopy_missing_bytes", METRIC_GAUGE, "bytes", "Memory that has still to come in post-copy.",
	  collect_missing },
	{ "migd_migration_postcopy_fault_seconds", METRIC_HISTOGRAM, "seconds",
	  "How long the guest waited for pages that were not there yet.", collect_faults },
	{ "migd_host_bandwidth_limit_" RATE, METRIC_GAUGE, RATE,
	  "For all outgoing migrations together (max-bandwidth); 0: no limit.", collect_bandwidth_limit },
	{ "migd_host_migrations_limit", METRIC_GAUGE, NULL, "Migrations at once (max-outgoing, max-incoming); 0: no limit.",
	  collect_migration_limits },
	{ "migd_qmp_clients", METRIC_GAUGE, NULL, "QMP clients that are connected.", collect_clients },
	{ "migd_qmp_clients_dropped", METRIC_COUNTER, NULL,
	  "QMP clients that were disconnected for they did not read, or were refused for there were too many.",
	  collect_dropped },
	{ "migd_qmp_commands", METRIC_COUNTER, NULL, "QMP commands answered, by class and outcome.", collect_commands },
	{ "migd_workers", METRIC_GAUGE, NULL, "Worker processes, one a migration.", collect_workers },
	{ "migd_worker_deaths", METRIC_COUNTER, NULL, "Workers that ended before their migration did.",
	  collect_worker_deaths },
	{ "migd_event_loop_lag_seconds", METRIC_HISTOGRAM, "seconds",
	  "How late a timer was served by the event loop, looked at four times a second.", collect_lag },
	{ "migd_scrapes", METRIC_COUNTER, NULL, "How often the metrics were asked for, this time included.", collect_scrapes },
	{ "process_cpu_seconds", METRIC_COUNTER, "seconds", "CPU time of the daemon, without its workers.",
	  collect_process_cpu },
	{ "process_resident_memory_bytes", METRIC_GAUGE, "bytes", "Memory of the daemon that is in RAM.",
	  collect_process_resident },
	{ "process_virtual_memory_bytes", METRIC_GAUGE, "bytes", "Address space of the daemon.", collect_process_virtual },
	{ "process_start_time_seconds", METRIC_GAUGE, "seconds", "When the daemon started, since 1970.",
	  collect_process_start },
	{ "process_threads", METRIC_GAUGE, NULL, "Threads of the daemon.", collect_process_threads },
	{ "process_open_fds", METRIC_GAUGE, NULL, "Descriptors that the daemon has open.", collect_process_fds },
	{ "process_max_fds", METRIC_GAUGE, NULL, "Descriptors that it may have open.", collect_process_max_fds },
};

void metrics_write(struct daemon *d, bool prometheus, struct buf *ret)
{
	struct metric_text out = { .buf = ret, .prometheus = prometheus };

	d->counts.scrapes++;
	openmetrics_write(&out, families, ARRAY_SIZE(families), d);
}
