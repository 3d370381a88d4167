/* SPDX-License-Identifier: Apache-2.0 */
/* What may come next on a command line: for the shells' completion, and migctl's own shell. */
#ifndef MIGD_CTL_COMPLETE_H
#define MIGD_CTL_COMPLETE_H

#include <stdio.h>

/*
 * To OUT: the last word of LINE (a command line up to the cursor, the program's name included) as it is so far, then
 * each word it can become, a tab, and what that is. The daemon at SOCKET_PATH is asked for names; what it does not tell at
 * once is left out.
 */
void complete_line(const char *line, const char *socket_path, const char *guest, FILE *out);

#endif
