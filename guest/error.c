/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a thread's last failure, the guard against calls from callbacks, and lines for the
 * log hook.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guest/internal.h"

static _Thread_local char last_error[MERR_MSG_MAX];

const char *migd_guest_error(void)
{
	return last_error;
}

int guest_fail(const struct merr *err)
{
	(void)snprintf(last_error, sizeof(last_error), "%s", merr_msg(err));
	return err->code;
}

int guest_failf(int code, const char *fmt, ...)
{
	struct merr err = MERR_INIT;
	va_list ap;

	va_start(ap, fmt);
	(void)merr_setv(&err, code, fmt, ap);
	va_end(ap);
	return guest_fail(&err);
}

int guest_refuse_callback(struct migd_guest *g)
{
	if (__atomic_load_n(&g->has_service, __ATOMIC_ACQUIRE) &&
	    pthread_equal(pthread_self(), g->service))
		return guest_failf(-EDEADLK, "this may not be called from a callback");
	return 0;
}

void guest_log(struct migd_guest *g, int level, const char *fmt, ...)
{
	char text[MERR_MSG_MAX + 128];
	va_list ap;

	if (!g->hooks.log)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = ' ';
	g->hooks.log(g->opaque, level, text);
}
