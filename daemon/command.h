/* SPDX-License-Identifier: Apache-2.0 */
/* Commands whose standard input or output is a migration's stream (`exec:`). They run as the
 * daemon's user. */
#ifndef MIGD_DAEMON_COMMAND_H
#define MIGD_DAEMON_COMMAND_H

#include <event2/event.h>
#include <stdbool.h>

#include "base/err.h"
#include "transport/addr.h"

struct command;

/*
 * Start A's arguments, the first of which is the program's path, in a session of its own. READS:
 * *RET_FD is to be written to, and is its standard input; else *RET_FD is its standard output. The
 * other of the two is /dev/null, standard error the daemon's. Blocks until the program was
 * executed; a failure to do so is an error here.
 */
int command_spawn(struct event_base *base, const struct addr *a, bool reads, int *ret_fd,
		  struct command **ret, struct merr *err);

/* Call FN from the event loop once it ended; ERR says how, unless its status was 0. */
typedef void (*command_fn)(void *opaque, const struct merr *err);
void command_await(struct command *c, command_fn fn, void *opaque);

/*
 * FN will not be called. KILL: SIGTERM for all of its session's processes that are in its group. It
 * is reaped whenever it ends. NULL is fine; returns NULL.
 */
struct command *command_drop(struct command *c, bool kill);

/* The event loop ends: forget those that were dropped and have not ended. */
void command_forget_dropped(void);

#endif
