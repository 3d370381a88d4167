/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named fault points: what a test asks to go wrong, to see that another test would notice, or that a successor goes on from
 * there. MIGD_FAULT in the environment of a build with MIGD_FAULT_POINTS names them, separated by commas; any other build has
 * none. Any thread.
 */
#ifndef MIGD_BASE_FAULT_H
#define MIGD_BASE_FAULT_H

#include <stdbool.h>

#ifdef MIGD_FAULT_POINTS
bool fault_is_on(const char *name);
/* NAME:N in MIGD_FAULT: who gets here for the Nth time is killed (SIGKILL). One such point at a time. */
void fault_die_at(const char *name);
/* This process goes on where one died, and is not to die of the same. */
void fault_survive(void);
#else
static inline bool fault_is_on(const char *name)
{
	(void)name;
	return false;
}

static inline void fault_die_at(const char *name)
{
	(void)name;
}

static inline void fault_survive(void)
{
}
#endif

#endif
