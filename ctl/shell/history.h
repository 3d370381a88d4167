/* SPDX-License-Identifier: Apache-2.0 */
/* Where the shell's history is kept. */
#ifndef MIGD_CTL_SHELL_HISTORY_H
#define MIGD_CTL_SHELL_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The file: migctl/history in $XDG_STATE_HOME, or in ~/.local/state. Its folders are made, and it is made for its owner only.
 * Returns BUF, or NULL: there is no place for it.
 */
const char *history_file(char *buf, size_t len);

/* Whether a line is to be kept: not if a blank is in front, or a password in it. */
bool history_wants(const char *line);

#endif
