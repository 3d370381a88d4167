/* SPDX-License-Identifier: Apache-2.0 */
/* A migration's record (MigrationRecord), for people. */
#ifndef MIGD_CTL_REPORT_H
#define MIGD_CTL_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"

/* As one page of HTML that needs nothing else (ctl/report.html), to OUT, whose errors are the caller's to look for. -ENOMEM with ERR. */
int report_html(const json_t *record, FILE *out, struct merr *err);

/* As text, to standard output. */
void report_text(const json_t *record);

#endif
