/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the command that a command line asks for. */
#ifndef MIGD_CTL_COMMANDS_H
#define MIGD_CTL_COMMANDS_H

#include "ctl/ctl.h"

/* Take the command off CTL's arguments, and check what is left against its row. CTL_OK, or CTL_USAGE with ERR. */
int commands_choose(struct ctl *ctl, struct merr *err);

/* There is no command NAME: CTL_USAGE with ERR, which names the nearest one. */
int commands_complain(const char *name, struct merr *err);

#endif
