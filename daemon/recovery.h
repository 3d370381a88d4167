/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Post-copy whose connection broke (status `postcopy-paused`): the guest runs on the target, and waits for pages that are
 * still on the source. The workers reconnect by themselves; this is what an operator can do (QMP.md 2.1):
 *
 *     migrate-pause      either side: give the connection up, and wait for the operator
 *     migrate-recover    target: listen at another address
 *     migrate, resume    source: connect, and go on
 */
#ifndef MIGD_DAEMON_RECOVERY_H
#define MIGD_DAEMON_RECOVERY_H

#include "base/err.h"
#include "transport/addr.h"

struct guest;
struct migration;
struct qmp_call;

/* G's migration, in `postcopy-active` or `postcopy-recover`, pauses. -EINVAL: it is in neither. */
int recovery_pause(struct guest *g, struct merr *err);

/*
 * G's paused migration goes on over a connection to ADDR, which is called URI, and is where it reconnects to from now on.
 * The status is `postcopy-recover-setup`; what goes wrong later leads back to `postcopy-paused`, with an error-desc. -errno
 * with ERR: nothing is paused, or a descriptor of CALL's session is unfit.
 */
int recovery_resume(struct guest *g, struct qmp_call *call, const char *uri, const struct addr *addr, struct merr *err);

/*
 * G's paused incoming migration listens on ADDR, and no more where it did before. CALL is answered when
 * it does, or with what is wrong: then nothing changed.
 */
void recovery_listen(struct guest *g, const struct addr *addr, struct qmp_call *call);

/* M is over, or its worker is lost: nothing is waited for any more. */
void recovery_abandon(struct migration *m);

#endif
