/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration's capabilities and parameters say about RAM. */
#ifndef MIGD_ENGINE_RAM_SETTINGS_H
#define MIGD_ENGINE_RAM_SETTINGS_H

#include "engine/mapped-file.h"
#include "engine/source.h"
#include "engine/target.h"

/* Source, before the first pass: set S's `sender` up as its migration and the peer's features say. 0 or -errno with ERR. */
int ram_settings_source(struct source *s, struct merr *err);

/* Target, before the first section: how T's `receiver` gets pages from a mapped-ram file. 0 or -errno with T's error. */
int ram_settings_target(struct target *t);

/* The mapped-ram file FD, as M wants it to be read. FD is borrowed. */
void ram_settings_mapped_file(const struct migration *m, int fd, struct mapped_source_file *ret);

#endif
