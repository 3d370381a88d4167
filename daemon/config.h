/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's configuration: schema/config.json, one struct a section. What it consists of is walked by the schema's tables:
 * a key that is added there is read, checked, shown and reloaded without a line here.
 */
#ifndef MIGD_DAEMON_CONFIG_H
#define MIGD_DAEMON_CONFIG_H

#include <stdbool.h>

#include "base/err.h"
#include "schema/types.h"

/* What is known of one key: config_type.members[SECTION].type->members[KEY]. */
struct config_key {
	const struct schema_member *section, *key;
};

/* All keys, in the schema's order: *K is all zero before the first. False: there is no further one. */
bool config_next_key(struct config_key *k);

/* -ENOENT with ERR, which names the section or key that was meant, or the section that the key belongs to. */
int config_find_section(const char *name, const struct schema_member **ret, struct merr *err);
int config_find_key(const char *section, const char *key, struct config_key *ret, struct merr *err);

/* What K has in C, a new reference; NULL: it is not set, or there is no memory. */
json_t *config_get(const struct config *c, struct config_key k);

/* Give K in DST what it has in SRC, if it is set there. -ENOMEM: DST is untouched. */
int config_copy_key(struct config *dst, const struct config *src, struct config_key k);

/*
 * Set K in C from TEXT, as a person writes it. FROM_FILE: paths have to be absolute. -EINVAL or -ENOMEM with ERR, which does
 * not name the key; C is then untouched.
 */
int config_set(struct config *c, struct config_key k, const char *text, bool from_file, struct merr *err);

/* Copy all that is set in SRC over DST. -ENOMEM: some of it may be. */
int config_merge(struct config *dst, const struct config *src);

/* What holds where nothing is configured. Freed with config_done(). -ENOMEM with ERR: RET is all zero. */
int config_init(struct config *ret, struct merr *err);

#endif
