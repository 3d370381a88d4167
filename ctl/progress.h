/* SPDX-License-Identifier: Apache-2.0 */
/* Following a migration until it ends: a line that is redrawn on a terminal, plain lines elsewhere. */
#ifndef MIGD_CTL_PROGRESS_H
#define MIGD_CTL_PROGRESS_H

#include "ctl/ctl.h"

/*
 * Ask query-migrate again and again until the guest's migration ends, show where it stands, and at the end what
 * came of it (with --json: the last answer, and nothing else). CTL_OK if it completed, CTL_FAILED with ERR if it
 * did not, or there is none.
 */
int progress_follow(struct ctl *ctl, struct merr *err);

/* One line about a migration: INFO is query-migrate's answer. WIDTH: columns there are; 0: no bar. Returns BUF. */
const char *progress_line(const json_t *info, int width, char *buf, size_t len);

#endif
