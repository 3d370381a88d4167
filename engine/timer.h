/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `timer` section (WIRE.md 2.5): QEMU's host tick base and virtual clock. A guest of migd's has neither, its clocks are
 * in the library's sections: it is sent to peers that are no migd with the clocks at 0, and what comes is checked and
 * dropped.
 */
#ifndef MIGD_ENGINE_TIMER_H
#define MIGD_ENGINE_TIMER_H

#include "engine/handler.h"

/* Both sides. */
int timer_register(struct handlers *hs, struct merr *err);

#endif
