/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at the migrations that run, every 100 ms, and notes in their records how they get on. While none moves anything there
 * is no timer.
 */
#ifndef MIGD_DAEMON_RECORDER_H
#define MIGD_DAEMON_RECORDER_H

#include <stdbool.h>

struct daemon;
struct migration;

/* M, which has a record, is one of those that are looked at. */
bool recorder_watches(const struct migration *m);

/* M, which has a record, has another status: if nothing moves in that, what was watched ends. */
void recorder_leave(struct migration *m);

/* A status changed: see whether there is something to look at. */
void recorder_review(struct daemon *d);

void recorder_done(struct daemon *d);

#endif
