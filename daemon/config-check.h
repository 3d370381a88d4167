/* SPDX-License-Identifier: Apache-2.0 */
/* What the schema does not know about the configuration's values. */
#ifndef MIGD_DAEMON_CONFIG_CHECK_H
#define MIGD_DAEMON_CONFIG_CHECK_H

#include "daemon/config-source.h"

/* One value by itself. FROM_FILE: paths have to be absolute. -EINVAL with ERR saying what a right one looks like. */
int config_check_value(struct config_key k, const char *value, bool from_file, struct merr *err);

/* The values that SOURCE wants, together. -EINVAL: what is wrong is in REPORT. */
int config_check_all(const struct config_source *source, struct config_report *report);

#endif
