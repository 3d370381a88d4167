/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cgroup of its own for each worker, with the limits of section [workers], below the daemon's own cgroup, if that was delegated
 * to it (Delegate= of the unit; cgroup v2): "daemon" is for the daemon itself, "worker-ID" for migration ID's worker. Only where
 * one of the limits is set.
 */
#ifndef MIGD_DAEMON_CGROUP_H
#define MIGD_DAEMON_CGROUP_H

#include <sched.h>
#include <stdbool.h>

#include "base/err.h"

struct cgroups;
struct config_workers;

/*
 * Moves this process into its leaf. NULL: no limit is set, or none is possible (the log says why); every function below takes
 * that. CONFIG is borrowed, and read each time a worker starts.
 */
struct cgroups *cgroups_new(const struct config_workers *config);
struct cgroups *cgroups_free(struct cgroups *c);

/*
 * Make the cgroup for the worker of migration ID. What is written "0" to the descriptor returned joins it. -errno: it was logged,
 * and the worker goes without.
 */
int cgroups_add(struct cgroups *c, const char *id);
/* One that a former daemon made: limits that were lost meanwhile are set again. */
void cgroups_adopt(struct cgroups *c, const char *id);
/* A process in it was killed for want of memory. */
bool cgroups_was_oom(const struct cgroups *c, const char *id);
/* Remove it, unless the worker is still there. */
void cgroups_remove(struct cgroups *c, const char *id);

/* "2-3,6" of key cpus, and of those this process may use. False: all. */
bool cgroups_cpus(const struct config_workers *config, cpu_set_t *ret);

#endif
