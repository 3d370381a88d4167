/* SPDX-License-Identifier: Apache-2.0 */
/* The control plane: its QMP server, as the configuration says, and the sockets of the whole host. */
#ifndef MIGD_DAEMON_CONTROL_PLANE_H
#define MIGD_DAEMON_CONTROL_PLANE_H

#include "base/err.h"

struct daemon;

/* Make d->qmp. Nobody can connect yet. -ENOMEM with ERR. */
int plane_start(struct daemon *d, struct merr *err);

/* Listen on the sockets that socket units passed, or else on those of the configuration. */
int plane_open(struct daemon *d, struct merr *err);

/* Let the limits of d->config.qmp hold from now on. */
void plane_set_limits(struct daemon *d);

/* Close everything, and remove the sockets that were made here. */
void plane_stop(struct daemon *d);

#endif
