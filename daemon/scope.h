/* SPDX-License-Identifier: Apache-2.0 */
/* Which guest a command is about, and its answer when the VMM has the last word. */
#ifndef MIGD_DAEMON_SCOPE_H
#define MIGD_DAEMON_SCOPE_H

#include <stdbool.h>

struct guest;
struct merr;
struct qmp_call;
struct rcur;

/*
 * The argument `guest`, else the session's, else the only one there is. NULL: there is none such;
 * CALL was answered with an error that says which there are.
 */
struct guest *scope_guest(struct qmp_call *call, bool has_guest, const char *guest);

/* A guest_reply_fn of commands without a result; OPAQUE is the call, which gets `{}` or the VMM's error. */
void scope_answer(void *opaque, struct rcur *body, const struct merr *err);

#endif
