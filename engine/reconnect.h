/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's way back to its target after their connection broke: connect, go through the opening, say what it is about; and
 * again after a pause, until that worked, it is certain that it never will, or time is up.
 *
 * Tried again is what another attempt may change: hosts that cannot be reached, connections that break, answers that do not
 * come. Final is a word: nobody listens there any more, whoever does refuses, or is no migd.
 *
 * Migration thread. All give 0 or -errno with the source's error, which each attempt sets anew.
 */
#ifndef MIGD_ENGINE_RECONNECT_H
#define MIGD_ENGINE_RECONNECT_H

#include "engine/source.h"

struct reconnect {
	uint64_t deadline_ns;	/* DEADLINE_NONE: none */
	int cancel_fd;		/* ends waits, also those of the connection that is made; -1: none does */
	uint64_t pause_ms;	/* before the next attempt */
	uint64_t attempts;	/* begun */
	bool reports;		/* the daemon is told of each attempt of reconnect_until(), and why it is needed */
};

/* From now on for TIMEOUT_MS; UINT64_MAX: for ever. */
struct reconnect reconnect_plan(uint64_t timeout_ms, int cancel_fd);

/*
 * One attempt, towards a target that was a migd: 0: the source's connection is a new one, and HELLO was said. -EPROTONOSUPPORT:
 * whoever answered is no migd.
 */
int reconnect_try(struct source *s, struct reconnect *r);

/* The opening, on a new connection to what was a migd: as above. */
int reconnect_open(struct source *s);

/* Before the next attempt; whatever wakes M's answer_fd ends it early. -ETIMEDOUT, -ECANCELED (the source's error is kept). */
int reconnect_pause(struct source *s, struct reconnect *r);

/* Whether the failure CODE of an attempt, or of what was said over it, ends all. */
bool reconnect_is_final(int code);

/* Until AGREE, called with a new connection, gives 0; a failure of its that is final ends it, too. */
int reconnect_until(struct source *s, struct reconnect *r, int (*agree)(struct source *s));

#endif
