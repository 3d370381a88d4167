/* SPDX-License-Identifier: Apache-2.0 */
/* Named fault points. */
#include "base/fault.h"

#ifdef MIGD_FAULT_POINTS

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

static atomic_bool survives;
static atomic_int_least64_t clock_step_ns;

static const struct {
	const char *name;
	int err;
} errors[] = {
	{ "EIO", -EIO },
	{ "ENOSPC", -ENOSPC },
	{ "ENOMEM", -ENOMEM },
	{ "EMFILE", -EMFILE },
};

/* What follows NAME, where it is asked for: the next name, or ':' and its number, or '=' and its action. NULL: it is not. */
static const char *find(const char *name)
{
	const char *on = getenv("MIGD_FAULT");
	size_t len = strlen(name);

	while (on && *on) {
		if (strncmp(on, name, len) == 0 && strchr(",:=", on[len]))
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

/* ACTION begins with NAME, and ends there. */
static bool is(const char *action, const char *name)
{
	size_t len = strlen(name);

	return strncmp(action, name, len) == 0 && strchr(",", action[len]);
}

static int act(const char *action)
{
	if (is(action, "stop"))
		(void)raise(SIGSTOP);
	else if (is(action, "kill"))
		(void)raise(SIGKILL);
	else if (strncmp(action, "clock", 5) == 0)
		atomic_store(&clock_step_ns, strtoll(action + 5, NULL, 10) * (int64_t)NS_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (is(action, errors[i].name))
			return errors[i].err;
	return 0;
}

int fault_reach(struct fault_site *site)
{
	const char *rest = find(site->name);
	unsigned long n = 1;
	char *end;

	if (!rest || atomic_load(&survives))
		return 0;
	if (*rest == ':') {
		n = strtoul(rest + 1, &end, 10);
		rest = end;
	}
	if (*rest != '=' || atomic_fetch_add(&site->reached, 1) + 1 != n)
		return 0;
	log_warning("fault point %s, as MIGD_FAULT asks", site->name);
	return act(rest + 1);
}

void fault_survive(void)
{
	atomic_store(&survives, true);
}

int64_t fault_clock_step(void)
{
	return atomic_load(&clock_step_ns);
}

#endif
