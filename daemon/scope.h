/* SPDX-License-Identifier: Apache-2.0 */
/* Which guest a command is about. */
#ifndef MIGD_DAEMON_SCOPE_H
#define MIGD_DAEMON_SCOPE_H

#include <stdbool.h>

struct guest;
struct qmp_call;

/*
 * The argument `guest`, else the session's, else the only one there is. NULL: there is none such;
 * CALL was answered with an error that says which there are.
 */
struct guest *scope_guest(struct qmp_call *call, bool has_guest, const char *guest);

#endif
