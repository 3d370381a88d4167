/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over the migrations of a daemon that is gone. */
#ifndef MIGD_DAEMON_ADOPT_H
#define MIGD_DAEMON_ADOPT_H

#include <jansson.h>

#include "attach/conn.h"
#include "base/err.h"

struct daemon;
struct migration;

/* At start: for each journal in the state directory, find its worker, or settle what it left. */
void adopt_all(struct daemon *d);

/* An adopted worker's first message, ADOPT. */
int adopt_on_message(struct migration *m, struct conn_msg *msg, json_t *body, struct merr *err);

#endif
