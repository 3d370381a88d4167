/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's PUBLISH: its stream is written, and is to count. */
#ifndef MIGD_DAEMON_PUBLISH_H
#define MIGD_DAEMON_PUBLISH_H

#include "base/err.h"

struct conn_msg;
struct migration;

/* Answered by PUBLISHED, sooner or later. -EBADMSG: it must not ask. */
int publish_on_message(struct migration *m, struct conn_msg *msg, struct merr *err);

#endif
