/* SPDX-License-Identifier: Apache-2.0 */
/* One-shot timers on the event loop. */
#ifndef MIGD_DAEMON_TIMER_H
#define MIGD_DAEMON_TIMER_H

#include <event2/event.h>

/* A timer that calls FN once after MS milliseconds; event_free() ends it. NULL: no memory. */
static inline struct event *timer_start(struct event_base *base, unsigned int ms,
					event_callback_fn fn, void *opaque)
{
	struct timeval after = { .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
	struct event *e = evtimer_new(base, fn, opaque);

	if (e && evtimer_add(e, &after) < 0) {
		event_free(e);
		e = NULL;
	}
	return e;
}

static inline struct event *timer_free(struct event *e)
{
	if (e)
		event_free(e);
	return NULL;
}

#endif
