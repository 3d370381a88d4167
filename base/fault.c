/* SPDX-License-Identifier: Apache-2.0 */
/* Named fault points. */
#include "base/fault.h"

#ifdef MIGD_FAULT_POINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_ulong reached;
static atomic_bool survives;

/* What follows NAME, where it is asked for: the next name, or ':' and its number, or nothing. NULL: it is not. */
static const char *find(const char *name)
{
	const char *on = getenv("MIGD_FAULT");
	size_t len = strlen(name);

	while (on && *on) {
		if (strncmp(on, name, len) == 0 && strchr(",:", on[len]))
			return on + len;
		on = strchr(on, ',');
		on = on ? on + 1 : NULL;
	}
	return NULL;
}

bool fault_is_on(const char *name)
{
	return find(name) != NULL;
}

void fault_die_at(const char *name)
{
	const char *number = find(name);

	if (number && *number == ':' && !atomic_load(&survives) &&
	    atomic_fetch_add(&reached, 1) + 1 == strtoul(number + 1, NULL, 10))
		(void)raise(SIGKILL);
}

void fault_survive(void)
{
	atomic_store(&survives, true);
}

#endif
