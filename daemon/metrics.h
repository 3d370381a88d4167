/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's metrics: what is counted while it runs, and the table of all of them (docs/metrics.md). */
#ifndef MIGD_DAEMON_METRICS_H
#define MIGD_DAEMON_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "qmp/server.h"

struct daemon;
struct event;
struct migration;

/* Of each guest's migration there are about twenty samples: of so many that run, the others are counted only. */
#define METRICS_MIGRATIONS_MAX 1024U

#define METRICS_BLACKOUT_BOUNDS 11U
#define METRICS_LAG_BOUNDS	10U

enum metrics_outcome {
	METRICS_COMPLETED,
	METRICS_FAILED,
	METRICS_CANCELLED,
	METRICS_OUTCOMES
};

/* By class, and one for what is no command. */
#define METRICS_CLASSES (QMP_ACCESS__MAX + 1U)

/* What became of a command. */
enum metrics_answer {
	METRICS_RETURNED,
	METRICS_ERROR,
	METRICS_REFUSED,
	METRICS_ANSWERS
};

/* What cannot be seen when somebody asks. Since the daemon started; all zero at the start. */
struct metrics_counts {
	uint64_t ended[2][METRICS_OUTCOMES];	/* migrations; [0]: outgoing, [1]: incoming */
	uint64_t blackouts[2][METRICS_BLACKOUT_BOUNDS + 1];
	double blackout_seconds[2];
	uint64_t commands[METRICS_CLASSES][METRICS_ANSWERS];
	uint64_t workers_started, workers_died;
	uint64_t lags[METRICS_LAG_BOUNDS + 1];
	double lag_seconds;
	uint64_t scrapes;
	struct event *lag_timer;
	uint64_t lag_due_ns;
};

/* M's status is one of an end now. */
void metrics_migration_ended(const struct migration *m);
/* A worker ended without having been told, or allowed, to. */
void metrics_worker_died(struct daemon *d);
/* ACCESS: QMP_ACCESS__MAX if there is no such command. */
void metrics_command(struct daemon *d, enum qmp_access access, enum metrics_answer answer);

/* Look several times a second how late the event loop is, or no more. */
void metrics_watch_loop(struct daemon *d, bool on);

/* All of them. A buf that ran out of memory says so itself. */
void metrics_write(struct daemon *d, bool prometheus, struct buf *ret);

#endif
