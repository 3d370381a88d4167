/* SPDX-License-Identifier: Apache-2.0 */
/* Logging to stderr, with the journal's level prefixes when stderr is the journal. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LINE_MAX_BYTES 2048

static const char *program_name = "migd";
static enum log_target target_now = LOG_TARGET_STDERR;
static atomic_int level_now = LOG_INFO;
static bool journal_prefix;

static const char *const level_names[] = { "emerg",   "alert",	"crit", "err",
					   "warning", "notice", "info", "debug" };
_Static_assert(ARRAY_SIZE(level_names) == LOG_DEBUG + 1, "a name for each syslog level");

void log_init(const char *program, enum log_target target, int max_level)
{
	program_name = program;
	target_now = target;
	journal_prefix = getenv("JOURNAL_STREAM") != NULL;
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

void log_msg(int level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	int saved = errno;
	va_list ap;
	size_t len;
	int n;

	if (level > log_level() || target_now == LOG_TARGET_NONE)
		return;
	if (journal_prefix)
		n = snprintf(line, sizeof(line), "<%d>", level);
	else
		n = snprintf(line, sizeof(line), "%s[%d]: %s: ", program_name, (int)getpid(),
			     level_names[level]);
	len = (size_t)n;
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n < sizeof(line) - len - 1 ? (size_t)n : sizeof(line) - len - 2;
	line[len++] = '\n';
	/* One write a line: lines of several threads and processes do not mix. */
	if (write(STDERR_FILENO, line, len) < 0)
		(void)0; /* nowhere left to say so */
	errno = saved;
}
