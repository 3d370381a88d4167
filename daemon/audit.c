/* SPDX-License-Identifier: Apache-2.0 */
/* Who told this host to do what. */
#include "daemon/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log-events.h"
#include "daemon/access.h"
#include "daemon/daemon.h"
#include "daemon/json.h"
#include "qmp/printer.h"

/* Longest texts of one line, NUL included. */
#define NAME_MAX_BYTES 65
#define GUEST_MAX_BYTES 129
#define TEXT_MAX_BYTES 301

/* Arguments that may be secrets: of these commands only what is listed is shown. */
static const struct {
	const char *command;
	const char *shown[4];
} discreet[] = {
	{ "object-add", { "qom-type", "id" } },
	/* It may be an object_add: audit_answered() is told of what the line came to, too. */
	{ "human-monitor-command", { NULL } },
};

static bool is_wanted(const struct daemon *d, const struct qmp_answered *a)
{
	const char *audit = d->config.qmp.audit;

	if (strcmp(audit, "all") == 0)
		return true;
	return strcmp(audit, "changes") == 0 && a->command && a->command->access != QMP_ACCESS_READ;
}

/* Text of others as one value of a line: printable ASCII without the quote it is put in, and no more than there is room for. */
static void sanitise(const char *text, size_t len, char *ret, size_t size)
{
	size_t n = len < size - 1 ? len : size - 1;

	for (size_t i = 0; i < n; i++)
		ret[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i] == '\'' ? '`' : text[i];
	ret[n] = '\0';
	if (len > n && n >= 3)
		memcpy(ret + n - 3, "...", 3);
}

/* A new reference to what may be shown. */
static json_t *arguments_to_show(const struct qmp_answered *a)
{
	json_t *all = (json_t *)(uintptr_t)a->arguments, *some, *value;

	for (size_t i = 0; i < ARRAY_SIZE(discreet); i++) {
		if (strcmp(a->name, discreet[i].command) != 0)
			continue;
		some = json_object();
		for (const char *const *name = discreet[i].shown; *name; name++) {
			value = json_object_get(all, *name);
			if (value)
				(void)json_object_set(some, *name, value);
		}
		return some;
	}
	return json_incref(all);
}

static void print_arguments(const struct qmp_answered *a, char *ret, size_t size)
{
	_cleanup_json_ json_t *shown = arguments_to_show(a);
	struct buf text = { 0 };

	if (shown)
		qmp_print(&text, shown);
	sanitise(text.error ? "" : (const char *)text.data, text.error ? 0 : text.len, ret, size);
	buf_done(&text);
}

static const char *guest_of(const struct qmp_answered *a)
{
	const char *named = json_string_value(json_object_get(a->arguments, "guest"));

	return named ? named : a->session_guest ? a->session_guest : "";
}

/* As those of what is logged while the command runs: qmp/call.c. */
static void add_log_fields(struct log_scope *scope, const struct qmp_answered *a)
{
	char number[16];

	log_scope_add(scope, "MIGD_COMMAND", a->name);
	(void)snprintf(number, sizeof(number), "%u", (unsigned int)a->peer->uid);
	log_scope_add(scope, "MIGD_CLIENT_UID", number);
	(void)snprintf(number, sizeof(number), "%d", (int)a->peer->pid);
	log_scope_add(scope, "MIGD_CLIENT_PID", number);
	if (guest_of(a)[0])
		log_scope_add(scope, "MIGD_GUEST", guest_of(a));
}

void audit_answered(void *opaque, const struct qmp_answered *a)
{
	const struct daemon *d = opaque;
	char name[NAME_MAX_BYTES], guest[GUEST_MAX_BYTES], arguments[TEXT_MAX_BYTES], error[TEXT_MAX_BYTES];
	_log_scope_ struct log_scope scope;

	log_scope_enter(&scope);
	if (!is_wanted(d, a))
		return;
	sanitise(a->name, strlen(a->name), name, sizeof(name));
	sanitise(guest_of(a), strlen(guest_of(a)), guest, sizeof(guest));
	print_arguments(a, arguments, sizeof(arguments));
	sanitise(a->error ? a->error : "", a->error ? strlen(a->error) : 0, error, sizeof(error));
	add_log_fields(&scope, a);
	log_event(LOG_EVENT_AUDIT, LOG_NOTICE, "audit: command='%s' guest='%s' outcome=%s user='%s' uid=%u pid=%d comm='%s' session=%" PRIu64
		   " took-ms=%" PRIu64 "%s arguments='%s'%s%s%s%s%s",
		   name, guest, !a->error ? "done" : a->refused ? "refused" : "failed", access_user_name(d, a->peer->uid),
		   (unsigned int)a->peer->uid, (int)a->peer->pid, a->peer->comm, a->session,
		   (uint64_t)(a->took_ns / NS_PER_MS),
		   a->inner ? " inner=yes" : "", arguments, a->error ? " class=" : "", a->error ? a->error_class : "",
		   a->error ? " error='" : "", error, a->error ? "'" : "");
}
