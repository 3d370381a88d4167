/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named fault points: what a test asks to go wrong, to see that another test would notice. MIGD_FAULT in the environment of a
 * build with MIGD_FAULT_POINTS names them, separated by commas; any other build has none.
 */
#ifndef MIGD_BASE_FAULT_H
#define MIGD_BASE_FAULT_H

#include <stdbool.h>

#ifdef MIGD_FAULT_POINTS
bool fault_is_on(const char *name);
#else
static inline bool fault_is_on(const char *name)
{
	(void)name;
	return false;
}
#endif

#endif
