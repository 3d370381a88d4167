/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread's loop: signals, resets, and the end of the VMM. Others only leave word for it.
 */
#ifndef MIGD_VMM_CONTROL_H
#define MIGD_VMM_CONTROL_H

#include <stdbool.h>

struct control;
struct machine;

enum end_reason {
	END_NONE = 0,
	END_POWEROFF,	/* the guest powered off */
	END_EXIT,	/* the guest wrote its exit port */
	END_RETIRED,	/* it runs elsewhere */
	END_DISCARDED,	/* the incoming guest will not arrive */
	END_SIGNAL,	/* SIGTERM or SIGINT */
};

/* Blocks the signals that it handles in the calling thread, so that every later thread has them blocked. */
int control_new(struct control **ret);
struct control *control_free(struct control *c);

/* End the VMM; the first call decides. STATUS: of END_EXIT. Any thread. */
void control_end(struct control *c, enum end_reason reason, int status);

/* Look at M->reset again. Any thread. */
void control_wake(struct control *c);

/* Between quiesce and unquiesce no reset is begun. Service thread. */
void control_set_quiesced(struct control *c, bool quiesced);

/* Serve until the end; why, and *ret_status of END_EXIT. Main thread. */
enum end_reason control_run(struct machine *m, int *ret_status);

#endif
