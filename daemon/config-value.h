/* SPDX-License-Identifier: Apache-2.0 */
/* Values of the configuration as people write them: numbers, sizes, yes and no, words. */
#ifndef MIGD_DAEMON_CONFIG_VALUE_H
#define MIGD_DAEMON_CONFIG_VALUE_H

#include <jansson.h>

#include "base/err.h"
#include "schema/reflect.h"

/* The longest that is accepted, and room for any that is printed. */
#define CONFIG_VALUE_MAX      4095
#define CONFIG_VALUE_TEXT_MAX (CONFIG_VALUE_MAX + 3)

/*
 * TEXT as a value of KEY, a member of TYPE, whose range it has. A size may have a suffix K, M, G or T (also KiB ...), of powers of
 * 1024. -EINVAL with ERR saying what a right one looks like; -ENOMEM.
 */
int config_value_parse(const struct schema_type *type, const struct schema_member *key, const char *text, json_t **ret,
		       struct merr *err);

/* VALUE, in a form that is parsed to it. Returns BUF. */
const char *config_value_print(const json_t *value, char buf[CONFIG_VALUE_TEXT_MAX]);

#endif
