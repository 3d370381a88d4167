/* SPDX-License-Identifier: Apache-2.0 */
/* A migration's record (MigrationRecord), for people. */
#ifndef MIGD_CTL_REPORT_H
#define MIGD_CTL_REPORT_H

#include <jansson.h>

#include "base/err.h"

struct ctl;

/* migctl report: a page of HTML that needs nothing else (ctl/report.html), or text. */
int report_run(struct ctl *ctl, struct merr *err);

/* As text, to standard output. */
void report_text(const json_t *record);

#endif
