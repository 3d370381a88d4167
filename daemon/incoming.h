/* SPDX-License-Identifier: Apache-2.0 */
/* `migrate-incoming`: the target's side of a migration's beginning. */
#ifndef MIGD_DAEMON_INCOMING_H
#define MIGD_DAEMON_INCOMING_H

#include <stdbool.h>

#include "transport/addr.h"

struct guest;
struct migration;
struct qmp_call;

/* QMP.md 2.1: whether G can begin to wait for a migration now. -errno with ERR. */
int incoming_check(const struct guest *g, struct merr *err);

/* Whether G can be restored lazily from ADDR. -errno with ERR. */
int incoming_check_lazy(const struct guest *g, const struct addr *addr, struct merr *err);

/*
 * After these: listen on ADDR and start a worker for G. FN is called when the worker runs (ERR is NULL), or with what went
 * wrong: the guest can then be given another try. It may be called before this returns. CALL: whose session's descriptors ADDR
 * may name; NULL: none.
 */
typedef void (*incoming_fn)(void *opaque, const struct merr *err);
void incoming_start(struct guest *g, const char *uri, const struct addr *addr, bool exit_on_error, bool lazy,
		    struct qmp_call *call, incoming_fn fn, void *opaque);

/* M's listen_fd, as query-migrate shows it; also if that was passed. */
void incoming_note_address(struct migration *m);

/* Nobody is to come there any more: the file of a Unix socket that was made for M goes. */
void incoming_forget_address(struct migration *m);

#endif
