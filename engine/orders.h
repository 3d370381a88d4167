/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon tells a worker that it started: settings, answers, an operator's word. Control thread. */
#ifndef MIGD_ENGINE_ORDERS_H
#define MIGD_ENGINE_ORDERS_H

#include "engine/migration.h"

/* Take one message and do as it says. 1: it was FINISHED, the daemon has the outcome; 0; -errno with ERR. */
int orders_take(struct migration *m, struct conn_msg *msg, struct merr *err);

#endif
