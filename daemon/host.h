/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds for all guests and migrations of a host: the settings of host-set-parameters (schema/host.json). They outlive
 * the daemon, in the state directory:
 *
 *   settings/host    version 1; one that cannot be read is named in the log, and ignored
 */
#ifndef MIGD_DAEMON_HOST_H
#define MIGD_DAEMON_HOST_H

#include "base/err.h"
#include "schema/types.h"

struct daemon;

/* To D->host: the defaults, and over them what a former daemon kept. D->state is there. -ENOMEM with ERR. */
int host_init(struct daemon *d, struct merr *err);
void host_done(struct daemon *d);

/* Change what CHANGES has, all or nothing; tells those whom it concerns. -EINVAL with ERR: nothing changed. */
int host_set_parameters(struct daemon *d, const struct host_parameters *changes, struct merr *err);

#endif
