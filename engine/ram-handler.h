/* SPDX-License-Identifier: Apache-2.0 */
/* RAM as a member of the registry of section handlers: section `ram`, instance 0, version 4 (WIRE.md 3). */
#ifndef MIGD_ENGINE_RAM_HANDLER_H
#define MIGD_ENGINE_RAM_HANDLER_H

#include "engine/handler.h"
#include "engine/ram-source.h"
#include "engine/ram-target.h"

/* Source. From here on the registry owns S: its cleanup frees it; on failure S is freed at once. */
int ram_source_register(struct handlers *hs, struct ram_source *s, struct merr *err);

/* Destination. T is borrowed. */
int ram_target_register(struct handlers *hs, struct ram_target *t, struct merr *err);

#endif
