/* SPDX-License-Identifier: Apache-2.0 */
/* Scope cleanup of JSON values. */
#ifndef MIGD_DAEMON_JSON_H
#define MIGD_DAEMON_JSON_H

#include <jansson.h>

#include "base/cleanup.h"

static inline void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(cleanup_json)

#endif
