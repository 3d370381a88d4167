/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migration modes that keep the guest's memory on the host (docs/cpr.md): what they need, and cpr-transfer's first
 * step, in which the old VMM's library hands its memory to the new VMM. The daemon makes the connection between the
 * two; the memory's descriptors never come by here.
 */
#ifndef MIGD_DAEMON_CPR_H
#define MIGD_DAEMON_CPR_H

#include "base/err.h"
#include "transport/addr.h"

struct cpr;
struct guest;
struct migration;

/*
 * QMP.md 2.1, items 3 and 4: whether the guest's mode goes with the main address and with CPR_PATH ("": there is no `cpr`
 * channel). -EINVAL.
 */
int cpr_check_channels(const struct guest *g, const struct addr *main_addr, const char *cpr_path,
		       struct merr *err);

/* The last of the checks of a fresh start: what else the mode needs, and the capabilities that it excludes. */
int cpr_check_guest(const struct guest *g, struct merr *err);

/* ERR NULL: the new VMM has the memory, is attached, and its migd listens. */
typedef void (*cpr_fn)(struct migration *m, const struct merr *err);

/*
 * Connect to the new VMM at PATH, have M's guest hand its memory over, and wait for as long as it takes. FN is called
 * once, from the loop, and the result is freed before; NULL: no memory.
 */
struct cpr *cpr_start(struct migration *m, const char *path, cpr_fn fn);

/* The new VMM is told that nothing comes. Returns NULL. */
struct cpr *cpr_cancel(struct cpr *c);

#endif
