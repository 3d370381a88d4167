/* SPDX-License-Identifier: Apache-2.0 */
/* How the sandbox is widened for the tools that watch a program while it runs: sanitizers, or valgrind. Never
 * in a release. */
#ifndef MIGD_ENGINE_SANDBOX_TOOLS_H
#define MIGD_ENGINE_SANDBOX_TOOLS_H

#include <stdbool.h>
#include <stddef.h>

/* Whether such a tool watches this process. It also takes more address space than any limit. */
bool sandbox_has_tools(void);

/* The calls that it makes in every profile, whatever their arguments. */
const int *sandbox_tools_calls(size_t *ret_n);

/* sandbox_enter() is done: from here on the tool's own end of a process would fail. */
void sandbox_tools_entered(void);

#endif
