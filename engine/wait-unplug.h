/* SPDX-License-Identifier: Apache-2.0 */
/* The state wait-unplug: the guest is still to give devices up before its memory is sent (QMP.md 5.1). */
#ifndef MIGD_ENGINE_WAIT_UNPLUG_H
#define MIGD_ENGINE_WAIT_UNPLUG_H

#include "engine/source.h"

/* Wait, without a limit, until no handler says so. The library has asked for them already. -errno with S->err. */
int wait_unplug(struct source *s);

#endif
