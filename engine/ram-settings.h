/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration's capabilities and parameters say about RAM. */
#ifndef MIGD_ENGINE_RAM_SETTINGS_H
#define MIGD_ENGINE_RAM_SETTINGS_H

#include "engine/mapped-reader.h"
#include "engine/source.h"

/* Source, before the first pass: set S's `sender` up as its migration and the peer's features say. 0 or -errno with ERR. */
int ram_settings_source(struct source *s, struct merr *err);

/* Target, before the first section. *RET is NULL unless M has capability mapped-ram. 0 or -errno with ERR. */
int ram_settings_mapped_reader(const struct migration *m, const struct chan *chan, struct mapped_reader **ret,
			       struct merr *err);

#endif
