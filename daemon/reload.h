/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration changes while the daemon runs: by SIGHUP or reload-config the file is read again, and taken whole or not at
 * all. Keys that the schema marks with 'restart' keep their old values.
 */
#ifndef MIGD_DAEMON_RELOAD_H
#define MIGD_DAEMON_RELOAD_H

#include "base/err.h"

struct daemon;

/* To the log goes what changed, or what is wrong. systemd is told when it begins and ends. */
void reload_on_signal(struct daemon *d);

/* Log this much, also workers that start from now on. -EINVAL with ERR: there is no such level. */
int reload_log_level(const char *level, struct merr *err);

#endif
