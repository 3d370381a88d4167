/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The greeter process, as the daemon sees it: one for all shared ports, started when it is first needed, and again, ever
 * more slowly, when it dies. It reads what the daemon must not (engine/greeter-link.h).
 */
#ifndef MIGD_DAEMON_GREETER_H
#define MIGD_DAEMON_GREETER_H

#include <event2/event.h>

#include "engine/greeter-link.h"

struct greeter;

struct greeter_handler {
	/* What a connection begins with. */
	void (*says)(void *opaque, const struct greeter_says *s);
	/* It died: nothing more is said about connections that it was given by now. */
	void (*lost)(void *opaque);
};

/* EXE_FD, HANDLER and OPAQUE are borrowed. No process yet. NULL: no memory. */
struct greeter *greeter_new(struct event_base *base, int exe_fd, const struct greeter_handler *handler, void *opaque);
struct greeter *greeter_free(struct greeter *g);

/* Have it look at FD (borrowed). -EAGAIN: it has too much to do, or is not there yet; try again soon. */
int greeter_look(struct greeter *g, uint32_t id, int fd);

/* It did not say what it should have: WHY. It is killed, and another started. */
void greeter_give_up(struct greeter *g, const char *why);

#endif
