/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's side of the decision page: where the handover state lives. Only the service thread
 * moves it (and migd_guest_free(), once that thread is gone); any thread, and whoever got the
 * descriptor, reads it.
 */
#ifndef MIGD_GUEST_DECISION_H
#define MIGD_GUEST_DECISION_H

#include "attach/handover.h"
#include "base/err.h"

struct decision {
	struct decision_page *page;
	int fd; /* sealed against writing by others; goes with HELLO */
};

int decision_init(struct decision *d, enum handover_state first);
void decision_done(struct decision *d);

static inline enum handover_state decision_get(const struct decision *d)
{
	return decision_state(d->page);
}

/* Take up a new handover id. Only while nothing is under way: right before HANDOVER_EV_BEGIN. */
void decision_set_id(struct decision *d, const uint8_t id[ATTACH_ID_LEN]);

/*
 * Move by EVENT: one compare-and-swap, made once. -EBADFD with ERR: there is no such move from
 * where it is.
 */
int decision_move(struct decision *d, enum handover_event event, struct merr *err);

#endif
