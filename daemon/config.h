/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's configuration: schema/config.json, one struct a section. */
#ifndef MIGD_DAEMON_CONFIG_H
#define MIGD_DAEMON_CONFIG_H

#include "base/err.h"
#include "schema/types.h"

/* What holds where nothing is configured. Freed with config_done(). -ENOMEM with ERR: RET is all zero. */
int config_init(struct config *ret, struct merr *err);

#endif
