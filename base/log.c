/* SPDX-License-Identifier: Apache-2.0 */
/* Logging to a sink, or to stderr, with the journal's level prefixes when stderr is the journal. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LINE_MAX_BYTES 2048
/* "PROGRAM[PID]: LEVEL: " */
#define PREFIX_MAX_BYTES 64

static const char *program_name = "migd";
static enum log_target target_now = LOG_TARGET_STDERR;
static atomic_int level_now = LOG_INFO;
static bool journal_prefix;
static log_sink_fn sink;
static _Thread_local struct log_scope *scope_now;

static const char *const level_names[] = { "emerg",   "alert",	"crit", "err",
					   "warning", "notice", "info", "debug" };
_Static_assert(ARRAY_SIZE(level_names) == LOG_DEBUG + 1, "a name for each syslog level");

bool log_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}

void log_set_sink(log_sink_fn fn)
{
	sink = fn;
}

void log_init(const char *program, enum log_target target, int max_level)
{
	program_name = program;
	target_now = target;
	journal_prefix = log_is_journal();
	log_set_level(max_level);
}

void log_init_child(const char *program)
{
	const char *word = getenv("MIGD_LOG_LEVEL");
	int level = word ? log_level_parse(word) : LOG_INFO;

	log_init(program, LOG_TARGET_STDERR, level < 0 ? LOG_INFO : level);
}

void log_set_level(int max_level)
{
	atomic_store_explicit(&level_now, max_level, memory_order_relaxed);
}

int log_level(void)
{
	return atomic_load_explicit(&level_now, memory_order_relaxed);
}

int log_level_parse(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++)
		if (strcasecmp(word, level_names[i]) == 0)
			return (int)i;
	if (strcasecmp(word, "error") == 0)
		return LOG_ERR;
	if (strcasecmp(word, "warn") == 0)
		return LOG_WARNING;
	if (word[0] >= '0' && word[0] <= '7' && word[1] == '\0')
		return word[0] - '0';
	return -EINVAL;
}

const char *log_level_str(int level)
{
	return level_names[level];
}

/* ---- what lines are about ---- */

void log_scope_enter(struct log_scope *s)
{
	s->outer = scope_now;
	s->n = 0;
	scope_now = s;
}

void log_scope_add(struct log_scope *s, const char *name, const char *value)
{
	if (s->n == LOG_SCOPE_FIELDS_MAX)
		return;
	s->fields[s->n].name = name;
	(void)snprintf(s->fields[s->n].value, LOG_SCOPE_VALUE_MAX, "%s", value);
	s->n++;
}

void log_scope_leave(struct log_scope *s)
{
	scope_now = s->outer;
}

/* ---- lines ---- */

static void write_stderr(int level, const char *text, size_t text_len)
{
	char line[PREFIX_MAX_BYTES + LINE_MAX_BYTES + 1];
	size_t len;
	int n;

	if (journal_prefix)
		n = snprintf(line, PREFIX_MAX_BYTES, "<%d>", level);
	else
		n = snprintf(line, PREFIX_MAX_BYTES, "%s[%d]: %s: ", program_name, (int)getpid(), level_names[level]);
	len = (size_t)n;
	memcpy(line + len, text, text_len);
	len += text_len;
	line[len++] = '\n';
	/* One write a line: lines of several threads and processes do not mix. */
	if (write(STDERR_FILENO, line, len) < 0)
		(void)0; /* nowhere left to say so */
}

void log_at(const struct log_site *site, const char *event, int level, const char *fmt, ...)
{
	struct log_record r = { .level = level, .event = event, .site = site, .scope = scope_now };
	char text[LINE_MAX_BYTES];
	int saved = errno, n;
	va_list ap;

	if (level > log_level() || target_now == LOG_TARGET_NONE)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0)
		r.len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
	r.text = text;
	if (!sink || !sink(&r))
		write_stderr(level, text, r.len);
	errno = saved;
}
