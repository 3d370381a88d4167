/* SPDX-License-Identifier: Apache-2.0 */
/* `migrate`: the source's side of a migration's beginning. */
#ifndef MIGD_DAEMON_OUTGOING_H
#define MIGD_DAEMON_OUTGOING_H

#include "base/err.h"
#include "transport/addr.h"

struct guest;
struct qmp_call;

/*
 * Check whether G can be migrated now (QMP.md 2.1), and set out: the status becomes `setup`. What
 * goes wrong later is in the migration; a stream on this host that cannot be opened both there and
 * in ERR. Names of descriptors are CALL's session's. CPR_PATH: mode cpr-transfer's channel.
 */
int outgoing_start(struct guest *g, struct qmp_call *call, const char *uri,
		   const struct addr *addr, const char *cpr_path, struct merr *err);

#endif
