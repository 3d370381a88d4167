/* SPDX-License-Identifier: Apache-2.0 */
/* Following a migration until it ends: a line that is redrawn on a terminal, plain lines elsewhere. */
#ifndef MIGD_CTL_PROGRESS_H
#define MIGD_CTL_PROGRESS_H

#include "ctl/ctl.h"

/*
 * Ask query-migrate again and again until the guest's migration ends, show where it stands, and at the end what
 * came of it. With --json: the last answer, and with JSON_LINES also those before, at each change and once a second. CTL_OK
 * if it completed; else ERR and CTL_MIGRATION_FAILED, CTL_CANCELLED, CTL_TIMED_OUT, CTL_IN_DOUBT (it was so when the time
 * of --timeout was over), CTL_FAILED (there is none) or what ctl_execute() said.
 */
int progress_follow(struct ctl *ctl, bool json_lines, struct merr *err);

/* One line about a migration: INFO is query-migrate's answer. WIDTH: columns there are; 0: no bar. Returns BUF. */
const char *progress_line(const json_t *info, int width, char *buf, size_t len);

#endif
