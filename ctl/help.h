/* SPDX-License-Identifier: Apache-2.0 */
/* What migctl says about itself. */
#ifndef MIGD_CTL_HELP_H
#define MIGD_CTL_HELP_H

#include "ctl/ctl.h"

/* Explain a command; NULL: list all. */
void help_print(const struct ctl_command *c);

/* The parts of docs/man/migctl.1 that are made from the tables. */
void manual_print(void);

#endif
