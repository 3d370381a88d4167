/* SPDX-License-Identifier: Apache-2.0 */
/* Who told this host to do what: a line of the log for each command that was answered, as [qmp] audit says. */
#ifndef MIGD_DAEMON_AUDIT_H
#define MIGD_DAEMON_AUDIT_H

#include "qmp/server.h"

/* The server's callback `answered`; OPAQUE is the daemon. */
void audit_answered(void *opaque, const struct qmp_answered *a);

#endif
