/* SPDX-License-Identifier: Apache-2.0 */
/* Whether this host can be the target of post-copy: what its kernel says. */
#ifndef MIGD_DAEMON_USERFAULTFD_H
#define MIGD_DAEMON_USERFAULTFD_H

#include "base/err.h"

/*
 * 0: it has userfaultfd, for shared memory and with CONTINUE, and lets this daemon use it; or it does not let this daemon, whose
 * VMMs may have more rights. Else -ENOTSUP with ERR.
 */
int userfaultfd_check(struct merr *err);

#endif
