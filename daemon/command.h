/* SPDX-License-Identifier: Apache-2.0 */
/* Commands whose standard input or output is a migration's stream (`exec:`), and other programs. They run as the
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

/*
 * Start ARGV, whose first is the program's path, in a session of its own, with the environment ENV and INPUT (borrowed) as its
 * standard input; what it prints goes where the daemon's log does. It stays unreaped until command_drop() or command_kill().
 * Blocks until the program was executed.
 */
int command_start(struct event_base *base, char *const argv[], char *const env[], int input, struct command **ret,
		  struct merr *err);

/* As command_drop(), with SIGKILL for all of its group, also if it ended itself. */
struct command *command_kill(struct command *c);

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
