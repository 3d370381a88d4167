/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock, from Linux 5.13: each of its versions (ABI) can forbid more than the one before. */
#ifndef MIGD_ENGINE_LANDLOCK_H
#define MIGD_ENGINE_LANDLOCK_H

#include <stdint.h>

#include "base/err.h"

/* The kernel's struct landlock_ruleset_attr, as of ABI 6; an older kernel takes it as long as the
 * rest is zero. */
struct landlock_rights {
	uint64_t fs;
	uint64_t net;
	uint64_t scopes;
};

/* All that a ruleset of this ABI can forbid. */
struct landlock_rights landlock_rights(int abi);

/* The ABI that the running kernel offers; 0: it has no Landlock, or it is turned off. */
int landlock_abi(void);

/*
 * From here on this process reaches nothing by a path; from ABI 4 on it binds and connects no TCP
 * socket, from 6 on it sends no signal to a process outside and connects to no abstract Unix socket
 * of one. ABI is at most landlock_abi(); after no_new_privs.
 */
int landlock_forbid_all(int abi, struct merr *err);

#endif
