/* SPDX-License-Identifier: Apache-2.0 */
/* Whether this host can be the target of post-copy, and take background snapshots: what its kernel says. */
#ifndef MIGD_DAEMON_USERFAULTFD_H
#define MIGD_DAEMON_USERFAULTFD_H

#include "base/err.h"

enum userfaultfd_use {
	USERFAULTFD_POSTCOPY,	/* pages are shown by CONTINUE */
	USERFAULTFD_SNAPSHOT,	/* write protection */
};

/*
 * 0: it has userfaultfd for shared memory, with what USE needs, and lets this daemon use it; or it does not let this daemon, whose
 * VMMs may have more rights. Else -ENOTSUP with ERR.
 */
int userfaultfd_check(enum userfaultfd_use use, struct merr *err);

#endif
