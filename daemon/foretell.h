/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An outgoing guest is announced to the host that it goes to, so that a VMM waits for it there (docs/evacuation.md). At most
 * FORETELL_MAX at once: the others wait, in the order of their coming.
 */
#ifndef MIGD_DAEMON_FORETELL_H
#define MIGD_DAEMON_FORETELL_H

#include "base/err.h"

#define FORETELL_MAX 16U

struct foretelling;
struct migration;

/*
 * Announce M's guest at M's address; M's TLS is decided. FN is called once, from the event loop: ERR is NULL: it can go there;
 * or why it cannot. The foretelling is gone then. NULL: no memory.
 */
typedef void (*foretell_fn)(struct migration *m, const struct merr *err);
struct foretelling *foretell(struct migration *m, foretell_fn fn);

/* FN is not called any more; the other side drops what it began. NULL is fine; returns NULL. */
struct foretelling *foretell_cancel(struct foretelling *f);

#endif
