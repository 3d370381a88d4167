/* SPDX-License-Identifier: Apache-2.0 */
/* Executing commands, reading answers, showing values. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ctl.h"

/* A daemon that is asked when the time of --timeout is as good as over still has so long to answer. */
#define GRACE_NS (5 * NS_PER_SEC)

json_t *ctl_guest_args(const struct ctl *ctl)
{
	return ctl->guest ? json_pack("{s:s}", "guest", ctl->guest) : json_object();
}

int ctl_execute(struct ctl *ctl, const char *name, json_t *args, json_t **ret, struct merr *err)
{
	uint64_t now = clock_now_ns();
	int r;

	if (ctl->deadline_ns)
		qmp_client_set_timeout(ctl->client, GRACE_NS + (ctl->deadline_ns > now ? ctl->deadline_ns - now : 0));
	r = qmp_client_execute(ctl->client, name, args, ret, err);
	json_decref(args);
	return r < 0 ? ctl_status_of(err) : CTL_OK;
}

/* QMP has no class for it: whoever lacks a right is told how to get it. */
static bool lacks_right(const struct merr *err)
{
	return strstr(merr_msg(err), "in section [access] of migd.conf") != NULL;
}

int ctl_status_of(const struct merr *err)
{
	if (err->class == MERR_DEVICE_NOT_FOUND)
		return CTL_NO_GUEST;
	if (err->code == -ETIMEDOUT)
		return CTL_TIMED_OUT;
	if (err->code == -EPERM || err->code == -EACCES || lacks_right(err))
		return CTL_NOT_PERMITTED;
	return err->code == -EREMOTEIO ? CTL_FAILED : CTL_UNREACHABLE;
}

int ctl_check_time(const struct ctl *ctl, struct merr *err)
{
	if (!ctl->deadline_ns || clock_now_ns() < ctl->deadline_ns)
		return CTL_OK;
	merr_set(err, -ETIMEDOUT, "%s: the %s seconds of --timeout are over; what was waited for goes on", ctl->command->name,
		 ctl_value(ctl, CTL_OPT_TIMEOUT));
	return CTL_TIMED_OUT;
}

int ctl_query(struct ctl *ctl, const char *name, json_t **ret, struct merr *err)
{
	return ctl_execute(ctl, name, ctl_guest_args(ctl), ret, err);
}

int ctl_do(struct ctl *ctl, const char *name, json_t *args, struct merr *err)
{
	_cleanup_json_ json_t *result = NULL;
	int r = ctl_execute(ctl, name, args, &result, err);

	if (r == CTL_OK && ctl->json)
		ctl_print_json(result);
	return r;
}

void ctl_print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17));
	putchar('\n');
}

static const json_t *member(const json_t *obj, const char *path)
{
	const char *dot;

	while (obj && (dot = strchr(path, '.'))) {
		char name[64];

		if (snprintf(name, sizeof(name), "%.*s", (int)(dot - path), path) >= (int)sizeof(name))
			return NULL;
		obj = json_object_get(obj, name);
		path = dot + 1;
	}
	return json_object_get(obj, path);
}

int64_t ctl_int(const json_t *obj, const char *path, int64_t otherwise)
{
	const json_t *v = member(obj, path);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

double ctl_number(const json_t *obj, const char *path, double otherwise)
{
	const json_t *v = member(obj, path);

	return json_is_number(v) ? json_number_value(v) : otherwise;
}

const char *ctl_str(const json_t *obj, const char *path, const char *otherwise)
{
	const char *s = json_string_value(member(obj, path));

	return s ? s : otherwise;
}

bool ctl_bool(const json_t *obj, const char *path)
{
	return json_is_true(member(obj, path));
}

const char *ctl_clean(const char *text, char *buf, size_t len)
{
	size_t n = 0;

	for (; *text && n + 1 < len; text++) {
		unsigned char c = (unsigned char)*text;

		buf[n++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	buf[n] = '\0';
	return buf;
}

const char *ctl_size(double bytes, char *buf, size_t len)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t i = 0;

	while (bytes >= 1024 && i + 1 < ARRAY_SIZE(units)) {
		bytes /= 1024;
		i++;
	}
	(void)snprintf(buf, len, "%.*f %s", i == 0 ? 0 : 1, bytes, units[i]);
	return buf;
}

int ctl_add_number(json_t *args, const char *name, const char *text, struct merr *err)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || end == text || *end) {
		merr_set(err, -EINVAL, "%s: '%s' is no number", name, text);
		return CTL_USAGE;
	}
	json_object_set_new(args, name, json_integer(v));
	return CTL_OK;
}

const char *ctl_colour(enum ctl_colour colour)
{
	static const char *const codes[] = {
		[CTL_PLAIN] = "\033[0m",
		[CTL_BOLD] = "\033[1m",
		[CTL_GREEN] = "\033[32m",
		[CTL_YELLOW] = "\033[33m",
		[CTL_RED] = "\033[31m",
	};
	const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");

	if ((no && *no) || !isatty(STDOUT_FILENO) || (terminal && strcmp(terminal, "dumb") == 0))
		return "";
	return codes[colour];
}
