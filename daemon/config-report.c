/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a configuration. */
#include "daemon/config-report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Of one, with a value that it quotes. */
#define LINE_MAX_BYTES 1024

static size_t kept(const struct config_report *r)
{
	return r->n < CONFIG_REPORT_MAX ? r->n : CONFIG_REPORT_MAX;
}

/* TEXT, which is taken over, behind those of lines before it; where there is no line, at the end. */
static void insert(struct config_report *r, size_t n, unsigned int line, char *text)
{
	while (line && n && r->at[n - 1] > line) {
		r->at[n] = r->at[n - 1];
		r->lines[n] = r->lines[n - 1];
		n--;
	}
	r->at[n] = line;
	r->lines[n] = text;
}

void config_report_add(struct config_report *r, const char *file, unsigned int line, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	size_t len = 0;
	va_list ap;
	int n;

	if (r->n++ >= CONFIG_REPORT_MAX)
		return;
	n = line ? snprintf(text, sizeof(text), "%s:%u: ", file, line) : snprintf(text, sizeof(text), "%s: ", file);
	if (n > 0)
		len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
	va_start(ap, fmt);
	(void)vsnprintf(text + len, sizeof(text) - len, fmt, ap);
	va_end(ap);
	insert(r, r->n - 1, line, strdup(text));
}

void config_report_each(const struct config_report *r, void (*fn)(const char *line))
{
	char more[64];

	for (size_t i = 0; i < kept(r); i++)
		fn(r->lines[i] ? r->lines[i] : "out of memory");
	if (r->n <= CONFIG_REPORT_MAX)
		return;
	(void)snprintf(more, sizeof(more), "and %zu more", r->n - CONFIG_REPORT_MAX);
	fn(more);
}

int config_report_to_err(const struct config_report *r, struct merr *err)
{
	char text[MERR_MSG_MAX];
	size_t len = 0, i;
	int n;

	for (i = 0; i < kept(r); i++) {
		n = snprintf(text + len, sizeof(text) - len, "%s%s", i ? "\n" : "", r->lines[i] ? r->lines[i] : "out of memory");
		if (n < 0 || (size_t)n >= sizeof(text) - len - 32)
			break;
		len += (size_t)n;
	}
	if (i < r->n)
		(void)snprintf(text + len, sizeof(text) - len, "\nand %zu more", r->n - i);
	return merr_set(err, -EINVAL, "%s", text);
}

void config_report_done(struct config_report *r)
{
	for (size_t i = 0; i < kept(r); i++)
		free(r->lines[i]);
	*r = (struct config_report){ 0 };
}
