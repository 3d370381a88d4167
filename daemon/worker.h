/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker process: started or adopted, watched, its link. Knows no migration: daemon/link.h gives
 * the messages their meaning. The greeter (daemon/greeter.h) is another process of this sort.
 */
#ifndef MIGD_DAEMON_WORKER_H
#define MIGD_DAEMON_WORKER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "attach/conn.h"
#include "base/err.h"

struct cgroups;
struct config_workers;
struct worker;

struct worker_handler {
	/*
	 * A message. A negative return: it breaks the rules; the worker is killed, and on_exit()
	 * says ERR's text.
	 */
	int (*on_message)(void *opaque, struct conn_msg *m, struct merr *err);
	/*
	 * The process is gone, and every message it sent was handled. HOW: "worker died (signal
	 * 9)". The worker is still there, for the callee to free.
	 */
	void (*on_exit)(void *opaque, const char *how);
};

/* Where a worker runs: daemon/cgroup.h. CGROUPS may be NULL. All is borrowed for as long as the worker. */
struct worker_place {
	struct cgroups *cgroups;
	const struct config_workers *config;
	const char *id; /* the migration's; copied */
};

/*
 * Start EXE_FD under the name ARGV0 (WORKER_ARGV0, GREETER_ARGV0; borrowed): its own session, descriptors 0-2 and its
 * end of the link, an empty environment but for the variables named in worker.c. Nothing is sent. HANDLER and OPAQUE are
 * borrowed. PLACE, which may be NULL: its cgroup, removed with it, and its CPUs.
 */
int worker_spawn(struct event_base *base, int exe_fd, const char *argv0, const struct worker_place *place,
		 const struct worker_handler *handler, void *opaque, struct worker **ret,
		 struct merr *err);

/*
 * Go on with a worker that a former daemon started. LINK_FD (taken over) is connected to it. PID
 * and START_TIME identify the process; PID 0: unknown, its end is then seen by the link alone.
 */
int worker_adopt(struct event_base *base, int link_fd, int pid, uint64_t start_time, const struct worker_place *place,
		 const struct worker_handler *handler, void *opaque, struct worker **ret,
		 struct merr *err);

/*
 * Stop watching; the process goes on, and its link ends. May be called from the handlers. Returns
 * NULL.
 */
struct worker *worker_free(struct worker *w);

/*
 * It has said its last word: it ends by itself, or is killed soon. Nothing is told about it any
 * more. Returns NULL.
 */
struct worker *worker_dismiss(struct worker *w);
/* The event loop ends: forget the dismissed ones that have not ended yet. */
void worker_forget_dismissed(void);

struct conn *worker_conn(const struct worker *w);
int worker_pid(const struct worker *w);

/* Handle every message that has arrived by now. The worker may be freed by that. */
void worker_drain(struct worker *w);

/*
 * Handle one message, if one has arrived and none is being handled. False: neither, or the worker was freed.
 */
bool worker_take(struct worker *w);

/* SIGKILL. WHY is what on_exit() will say; NULL: just how it died. */
void worker_kill(struct worker *w, const char *why);

/*
 * When a process began, as /proc/PID/stat says: with the pid it names one process. 0: no such
 * process.
 */
uint64_t process_start_time(int pid);
/* False once the process has ended, zombies included. */
bool process_lives(int pid, uint64_t start_time);

#endif
