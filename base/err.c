/* SPDX-License-Identifier: Apache-2.0 */
/* The error that a person or a peer will read. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int set(struct merr *err, enum merr_class class, int code, const char *fmt, va_list ap)
{
	if (code >= 0)
		code = -EIO;
	if (!err || err->class != MERR_NONE)
		return code;
	err->code = code;
	err->class = class;
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	return code;
}

int merr_setv(struct merr *err, int code, const char *fmt, va_list ap)
{
	return set(err, MERR_GENERIC, code, fmt, ap);
}

int (merr_set)(struct merr *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	code = set(err, MERR_GENERIC, code, fmt, ap);
	va_end(ap);
	return code;
}

int (merr_set_class)(struct merr *err, enum merr_class class, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	code = set(err, class, code, fmt, ap);
	va_end(ap);
	return code;
}

int (merr_set_errno)(struct merr *err, int code, const char *fmt, ...)
{
	bool first = !merr_is_set(err);
	char text[128];
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	code = set(err, MERR_GENERIC, code, fmt, ap);
	va_end(ap);
	if (err && first) {
		len = strlen(err->msg);
		(void)snprintf(err->msg + len, sizeof(err->msg) - len, ": %s",
			       strerror_r(-code, text, sizeof(text)));
	}
	return code;
}

int merr_prefix(struct merr *err, const char *fmt, ...)
{
	char old[MERR_MSG_MAX];
	va_list ap;
	size_t len;

	if (!merr_is_set(err))
		return err ? err->code : 0;
	memcpy(old, err->msg, sizeof(old));
	va_start(ap, fmt);
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	(void)snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", old);
	return err->code;
}

int merr_copy(struct merr *dst, const struct merr *src)
{
	if (!src)
		return 0;
	if (dst && dst->class == MERR_NONE)
		*dst = *src;
	return src->code;
}

const char *merr_msg(const struct merr *err)
{
	return merr_is_set(err) ? err->msg : "unknown error";
}

void merr_clear(struct merr *err)
{
	if (!err)
		return;
	err->code = 0;
	err->class = MERR_NONE;
	err->msg[0] = '\0';
}
