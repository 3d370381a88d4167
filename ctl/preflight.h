/* SPDX-License-Identifier: Apache-2.0 */
/* `migctl migrate --preflight`: would the guest fit the destination? */
#ifndef MIGD_CTL_PREFLIGHT_H
#define MIGD_CTL_PREFLIGHT_H

#include "ctl/ctl.h"

/* `migrate` was told to compare only: wait for the result and show it. CTL_OK if all fits, else CTL_FAILED with ERR. */
int preflight_follow(struct ctl *ctl, struct merr *err);

/* One line for `status`; nothing if INFO (query-migrate's answer) has no result. */
void preflight_print_line(const json_t *info);

#endif
