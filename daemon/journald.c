/* SPDX-License-Identifier: Apache-2.0 */
/* The journal as the log's sink. */
#define SD_JOURNAL_SUPPRESS_LOCATION /* it is the log's caller that matters */

#include "daemon/journald.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "base/cleanup.h"
#include "base/log.h"

#define FIELDS_MAX 32
#define FIELD_CAP  224
#define SCOPES_MAX 6

static const char *identifier_now;

struct entry {
	struct iovec iov[FIELDS_MAX];
	char text[FIELDS_MAX][FIELD_CAP];
	int n;
};

static void __attribute__((format(printf, 2, 3))) add(struct entry *e, const char *fmt, ...)
{
	char *text;
	va_list ap;

	if (e->n == FIELDS_MAX)
		return;
	text = e->text[e->n];
	va_start(ap, fmt);
	(void)vsnprintf(text, FIELD_CAP, fmt, ap);
	va_end(ap);
	e->iov[e->n++] = (struct iovec){ text, strlen(text) };
}

/* Who entered an inner scope knows better: a field that is there already stays. */
static bool has(const struct entry *e, const char *name)
{
	size_t len = strlen(name);

	for (int i = 0; i < e->n; i++)
		if (e->iov[i].iov_len > len && strncmp(e->iov[i].iov_base, name, len) == 0 && e->text[i][len] == '=')
			return true;
	return false;
}

static void add_scopes(struct entry *e, const struct log_scope *s)
{
	for (int depth = 0; s && depth < SCOPES_MAX; s = s->outer, depth++)
		for (size_t i = 0; i < s->n; i++)
			if (!has(e, s->fields[i].name))
				add(e, "%s=%s", s->fields[i].name, s->fields[i].value);
}

static bool send_entry(const struct log_record *r)
{
	char message[4096];
	struct entry e = { .n = 0 };
	int len = snprintf(message, sizeof(message), "MESSAGE=%.*s", (int)r->len, r->text);

	add(&e, "PRIORITY=%d", r->level);
	add(&e, "SYSLOG_IDENTIFIER=%s", identifier_now);
	add(&e, "CODE_FILE=%s", r->site->file);
	add(&e, "CODE_LINE=%d", r->site->line);
	add(&e, "CODE_FUNC=%s", r->site->function);
	if (r->event)
		add(&e, "MESSAGE_ID=%s", r->event);
	add_scopes(&e, r->scope);
	if (e.n == FIELDS_MAX)
		e.n--;
	e.iov[e.n++] = (struct iovec){ message, (size_t)len };
	return sd_journal_sendv(e.iov, e.n) >= 0;
}

void journald_start(const char *identifier)
{
	identifier_now = identifier;
	if (log_is_journal())
		log_set_sink(send_entry);
}
