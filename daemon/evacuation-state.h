/* SPDX-License-Identifier: Apache-2.0 */
/* Where an evacuation stands: its plan, and what became of each guest; as JSON for who asks, and for the next daemon. */
#ifndef MIGD_DAEMON_EVACUATION_STATE_H
#define MIGD_DAEMON_EVACUATION_STATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/evacuation-plan.h"
#include "daemon/migration.h"
#include "schema/types.h"

/* One guest. Its strings are `shown`'s. */
struct leaver {
	struct evacuation_guest shown; /* by name */
	int destination; /* index; -1: none yet */
	uint64_t tried;  /* destinations, by bit */
	char id[ID_TEXT_LEN]; /* of its migration */
	bool restored; /* a former daemon began it: which migration is seen from the guest's */
	uint64_t missing_ns; /* since when its VMM is; 0: it is not */
};

/* Zeroed and cleared: no evacuation. */
struct evacuation_state {
	struct evacuation_plan plan;
	enum evacuation_status status;
	struct leaver *leavers; /* by name */
	size_t n;
	struct evacuation_load load;
};

void evacuation_state_clear(struct evacuation_state *s);

bool evacuation_state_active(const struct evacuation_state *s);

/* NULL: there is none. It moves when another is added. */
struct leaver *evacuation_state_find(const struct evacuation_state *s, const char *guest);
/* One that waits. -ENOMEM. */
int evacuation_state_add(struct evacuation_state *s, const char *guest, uint64_t memory);

/* It waits, or migrates. */
bool leaver_open(const struct leaver *l);

/* DESTINATION: an index of the plan's. -ENOMEM. */
int leaver_take_destination(struct evacuation_state *s, struct leaver *l, int destination);
/* If it has one: there is room for another guest. */
void leaver_leave_destination(struct evacuation_state *s, struct leaver *l);

void evacuation_state_totals(const struct evacuation_state *s, struct evacuation_totals *ret);
/* What query-evacuation answers. The caller's; NULL: out of memory. */
json_t *evacuation_state_info(const struct evacuation_state *s);

/* For the state directory. The caller's; NULL: out of memory. */
json_t *evacuation_state_save(const struct evacuation_state *s);
/* S is cleared before, and half filled after an error: -EBADMSG, -EINVAL, -ENOTSUP (another version's), -ENOMEM. */
int evacuation_state_restore(struct evacuation_state *s, json_t *saved, struct merr *err);

#endif
