/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds for all guests and migrations of a host (schema/host.json): section [host] of the configuration, and over it
 * what host-set-parameters set. That outlives the daemon, in the state directory, until host-reset-parameters:
 *
 *   settings/host    version 1; one that cannot be read is named in the log, and ignored
 */
#ifndef MIGD_DAEMON_HOST_H
#define MIGD_DAEMON_HOST_H

#include <stddef.h>

#include "base/err.h"
#include "schema/types.h"

struct daemon;

/* To D->host: D->config's, and over them what a former daemon kept. D->state is there. -ENOMEM with ERR. */
int host_init(struct daemon *d, struct merr *err);
void host_done(struct daemon *d);

/* Change what CHANGES has, all or nothing; tells those whom it concerns. -EINVAL with ERR: nothing changed. */
int host_set_parameters(struct daemon *d, const struct host_parameters *changes, struct merr *err);

/* Let the configuration hold again, for N parameters or, if NAMES is NULL, for all. -EINVAL with ERR: nothing changed. */
int host_reset_parameters(struct daemon *d, char *const *names, size_t n, struct merr *err);

/* D->config.host has changed. */
void host_reconfigured(struct daemon *d);

#endif
