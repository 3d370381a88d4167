/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a migration that a command is about. */
#ifndef MIGD_CTL_HISTORY_H
#define MIGD_CTL_HISTORY_H

#include "ctl/ctl.h"

/* Of the argument, of the guest of -g, or the last one of all. An enum ctl_status; the caller releases *RET. */
int history_record(struct ctl *ctl, json_t **ret, struct merr *err);

#endif
