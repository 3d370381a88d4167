/* SPDX-License-Identifier: Apache-2.0 */
/* From a migration to a worker that carries it out: the library's channel, the process, START. */
#ifndef MIGD_DAEMON_START_H
#define MIGD_DAEMON_START_H

#include "base/err.h"

struct migration;

/*
 * Hand the library its end of a new migration channel (MIG_OPEN), start a worker in M's mode with
 * M's stream, and tell it everything. M->on_started() is called once, never from here: without an
 * error, the worker runs; with one, nothing is left of the attempt.
 */
void start_worker(struct migration *m);

/* Call M's on_started() with ERR: an attempt failed before it came to start_worker(). */
void start_failed(struct migration *m, const struct merr *err);

#endif
