/* SPDX-License-Identifier: Apache-2.0 */
/* The form of the configuration file. */
#include "daemon/ini.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Longer ones are quoted in part. */
#define QUOTED_MAX 60

struct parser {
	const char *name;
	struct config_report *report;
	struct ini *ini;
	size_t room;
	unsigned int line;
	const char *section; /* NULL: none yet */
	bool lost; /* the section's head was wrong: what is in it cannot be judged */
};

#define WRONG(p, ...) config_report_add((p)->report, (p)->name, (p)->line, __VA_ARGS__)

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static char *trim(char *s)
{
	size_t len;

	while (is_space(*s))
		s++;
	len = strlen(s);
	while (len && is_space(s[len - 1]))
		len--;
	s[len] = '\0';
	return s;
}

static bool is_name(const char *s)
{
	return *s && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(s);
}

static int add(struct parser *p, const char *key, const char *value)
{
	struct ini *ini = p->ini;
	struct ini_entry *more;

	if (ini->n == p->room) {
		p->room = p->room ? 2 * p->room : 32;
		more = realloc(ini->entries, p->room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		ini->entries = more;
	}
	ini->entries[ini->n++] =
		(struct ini_entry){ .line = p->line, .section = p->section, .key = key, .value = value };
	return 0;
}

static int parse_head(struct parser *p, char *s)
{
	char *end = strchr(s, ']');

	p->lost = true;
	if (!end || *trim(end + 1)) {
		WRONG(p, "a section begins with a line '[NAME]', not '%.*s'", QUOTED_MAX, s);
		return 0;
	}
	*end = '\0';
	s = trim(s + 1);
	if (!is_name(s)) {
		WRONG(p, "a section's name has letters, digits and dashes, '%.*s' has others", QUOTED_MAX, s);
		return 0;
	}
	p->lost = false;
	p->section = s;
	return add(p, NULL, NULL);
}

/* What is between the quotes, if there are any. NULL: it is wrong, and reported. */
static const char *unquote(struct parser *p, const char *key, char *s)
{
	size_t len = strlen(s);
	char quote = *s;

	if (quote != '"' && quote != '\'') {
		if (strstr(s, " #") || strstr(s, " ;") || strstr(s, "\t#") || strstr(s, "\t;")) {
			WRONG(p, "[%s] %s: a comment has a line of its own; if the value is to have it, it needs quotes: \"%.*s\"",
			      p->section, key, QUOTED_MAX, s);
			return NULL;
		}
		return s;
	}
	if (len < 2 || strchr(s + 1, quote) != s + len - 1) {
		WRONG(p, "[%s] %s: the quote %c that begins the value ends it too, and is nowhere else in it", p->section, key,
		      quote);
		return NULL;
	}
	s[len - 1] = '\0';
	return s + 1;
}

static int parse_setting(struct parser *p, char *s)
{
	char *equals = strchr(s, '=');
	const char *value;

	if (p->lost)
		return 0;
	if (!equals) {
		WRONG(p, "a setting is 'KEY = VALUE', not '%.*s'", QUOTED_MAX, s);
		return 0;
	}
	*equals = '\0';
	s = trim(s);
	if (!is_name(s)) {
		WRONG(p, "a key's name has letters, digits and dashes, '%.*s' has others", QUOTED_MAX, s);
		return 0;
	}
	if (!p->section) {
		WRONG(p, "%.*s: it is in no section; a line '[NAME]' has to come before it", QUOTED_MAX, s);
		return 0;
	}
	value = unquote(p, s, trim(equals + 1));
	return value ? add(p, s, value) : 0;
}

/* No control character but the tab, and a carriage return before the end. */
static bool is_text(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' && !is_space(s[i]))
			return false;
	return !memchr(s, 0x7f, len);
}

static int parse_line(struct parser *p, char *s, size_t len)
{
	if (!is_text(s, len)) {
		WRONG(p, "a control character or a NUL is in it: this is no text");
		return 0;
	}
	s = trim(s);
	if (!*s || *s == '#' || *s == ';')
		return 0;
	return *s == '[' ? parse_head(p, s) : parse_setting(p, s);
}

int ini_parse(const char *name, char *text, size_t len, struct ini *ret, struct config_report *report)
{
	struct parser p = { .name = name, .report = report, .ini = ret };
	char *at = text, *end = text + len, *eol;
	int r = 0;

	*ret = (struct ini){ .text = text };
	while (r == 0 && at < end) {
		eol = memchr(at, '\n', (size_t)(end - at));
		if (!eol)
			eol = end;
		*eol = '\0';
		p.line++;
		r = parse_line(&p, at, (size_t)(eol - at));
		at = eol + 1;
	}
	if (r < 0)
		ini_done(ret);
	return r;
}

void ini_done(struct ini *ini)
{
	free(ini->entries);
	free(ini->text);
	*ini = (struct ini){ 0 };
}
