/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's end of what engine/migration.h's threads tell each other. */
#ifndef MIGD_ENGINE_REPORT_H
#define MIGD_ENGINE_REPORT_H

#include "engine/migration.h"

/* The state at one moment, on its way to the daemon. */
struct report {
	struct report *next;
	enum link_type type;	/* STATE, PASS, RECONNECT, CONNECT, PUBLISH, SIGN (or AUTHORIZE), ADMIT, DECISION or DONE */
	uint64_t number;	/* the attempt, or ADMIT's ticket */
	enum migration_status status;
	struct merr error;
	bool has_handover;
	enum handover_state handover;
	bool in_doubt;
	bool peer_waits;
	uint8_t handover_id[ATTACH_ID_LEN];
	struct decision decision;	/* DECISION */
	struct pass_begin pass;		/* PASS */
	char connected[CONNECTED_MAX];	/* STATE: the source's address, or empty */
	bool guest_runs_here;		/* DONE */
};

/* The state as it is now. Lock held. */
struct report report_of(const struct migration *m, enum link_type type);

/* The oldest report; the caller frees it. NULL: none. */
struct report *report_take(struct migration *m);

/* The state as it is now. */
void report_now(struct migration *m, struct report *ret);
/* The body of its message on the worker link; and of ADOPT, of which NOW is the state. NULL: no memory. */
json_t *report_to_json(struct migration *m, struct report *r);
json_t *report_adopt_to_json(struct migration *m, struct report *now);

/* The answer to a CONNECT: FD (taken over), or -1 and ERR. */
void migration_answer_connect(struct migration *m, int fd, const struct merr *err);
/* The answer to a PUBLISH; ERR is not set: all is well. */
void migration_answer_publish(struct migration *m, const struct merr *err);
/* The operator's word. */
void migration_resolve(struct migration *m, enum resolve outcome);

#endif
