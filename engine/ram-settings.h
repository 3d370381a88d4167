/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration's capabilities and parameters say about RAM. */
#ifndef MIGD_ENGINE_RAM_SETTINGS_H
#define MIGD_ENGINE_RAM_SETTINGS_H

#include "engine/migration.h"
#include "engine/ram-source.h"

/* Source, before the first pass: set S up as M and the FEATURES of the peer say. 0 or -errno with ERR. */
int ram_settings_source(const struct migration *m, struct ram_source *s, uint64_t features,
			struct merr *err);

#endif
