/* SPDX-License-Identifier: Apache-2.0 */
/* Settings on the command line, NAME=VALUE, and how they are shown. */
#ifndef MIGD_CTL_SETTINGS_H
#define MIGD_CTL_SETTINGS_H

#include <jansson.h>

#include "base/err.h"

/*
 * TEXT, given for NAME to the command COMMAND, as a value of the type that NOW has: text; a number, which a suffix K, M, G
 * or T may follow; on or off; or else JSON. NULL with ERR.
 */
json_t *settings_parse(const char *command, const char *name, const char *text, const json_t *now, struct merr *err);

/* In one line. */
void settings_print(const char *name, const json_t *value);

#endif
