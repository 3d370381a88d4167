/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker, the greeter, or a herald gives up before it reads a peer's first byte. */
#ifndef MIGD_ENGINE_SANDBOX_H
#define MIGD_ENGINE_SANDBOX_H

#include "base/err.h"

enum sandbox {
	SANDBOX_WORKER,
	SANDBOX_GREETER,
	SANDBOX_HERALD,
};

/*
 * From here on this process has no capability, cannot gain any, cannot be traced or dumped, opens no file and no socket, and
 * makes only the system calls of engine/sandbox.c's table for its KIND (any other ends it by SIGSYS). What the kernel does not
 * offer (Landlock before 5.13) is logged and left out; the seccomp filter must work. Before threads are made.
 */
int sandbox_enter(enum sandbox kind, struct merr *err);

#endif
