/* SPDX-License-Identifier: Apache-2.0 */
/* Named fault points. */
#include "base/fault.h"

#ifdef MIGD_FAULT_POINTS

#include <stdlib.h>
#include <string.h>

bool fault_is_on(const char *name)
{
	const char *on = getenv("MIGD_FAULT");
	size_t len = strlen(name);

	while (on && *on) {
		if (strncmp(on, name, len) == 0 && (on[len] == ',' || on[len] == '\0'))
			return true;
		on = strchr(on, ',');
		on = on ? on + 1 : NULL;
	}
	return false;
}

#endif
