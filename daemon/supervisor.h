/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service manager is told of this daemon: sd_notify(3). Without one (no NOTIFY_SOCKET) nothing is said, and no timer
 * runs. On the event loop's thread.
 */
#ifndef MIGD_DAEMON_SUPERVISOR_H
#define MIGD_DAEMON_SUPERVISOR_H

struct daemon;
struct supervisor;

/* NULL: there is no service manager, or no memory; every function below takes that. D is borrowed. */
struct supervisor *supervisor_new(struct daemon *d);
struct supervisor *supervisor_free(struct supervisor *s);

/* Clients and VMMs are served from now on; the watchdog, if one is asked for, is fed by the event loop. */
void supervisor_ready(struct supervisor *s);
/* A reload begins; it ends with supervisor_ready(). */
void supervisor_reloading(struct supervisor *s);
void supervisor_stopping(struct supervisor *s);

/* Between two steps of a start that may take long: that it goes on. */
void supervisor_still_starting(struct supervisor *s);

/* How many guests or migrations there are has changed: the status line follows, a little later. */
void supervisor_changed(struct supervisor *s);

#endif
