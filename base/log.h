/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging: one event, one line, syslog levels, key=value after the sentence. A sink may take lines with their fields: what they
 * are about (scopes, entered by whoever knows), which event they tell (an id that stays), where they come from.
 */
#ifndef MIGD_BASE_LOG_H
#define MIGD_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

/* Where lines go. Set once at start, before threads. */
enum log_target {
	LOG_TARGET_STDERR = 1,	/* "<N>" prefixes are added when stderr is the journal */
	LOG_TARGET_NONE,
};

/* PROGRAM is kept by reference. MAX_LEVEL: LOG_ERR ... LOG_DEBUG; higher ones are dropped. */
void log_init(const char *program, enum log_target target, int max_level);
/* A process that the daemon started: to stderr, as much as the daemon, which says so in MIGD_LOG_LEVEL. */
void log_init_child(const char *program);
void log_set_level(int max_level);
int log_level(void);

/* Parse "emerg" ... "debug" or 0..7; returns the level or -EINVAL. */
int log_level_parse(const char *word);
/* The word of LEVEL, which is one. */
const char *log_level_str(int level);

/* Where a line comes from; static. */
struct log_site {
	const char *file, *function;
	int line;
};

/* What all lines of a thread are about until log_scope_leave(): a few fields, named as the journal wants it (A-Z, 0-9, _). */
#define LOG_SCOPE_FIELDS_MAX 4
#define LOG_SCOPE_VALUE_MAX  160
struct log_scope {
	struct log_scope *outer;
	size_t n;
	struct {
		const char *name; /* static */
		char value[LOG_SCOPE_VALUE_MAX]; /* a copy, cut to this */
	} fields[LOG_SCOPE_FIELDS_MAX];
};

/* S is the caller's, and empty at first; scopes are left in the reverse order. The caller declares S _log_scope_, or leaves it. */
void log_scope_enter(struct log_scope *s);
void log_scope_add(struct log_scope *s, const char *name, const char *value);
void log_scope_leave(struct log_scope *s);
#define _log_scope_ __attribute__((cleanup(log_scope_leave)))

struct log_record {
	int level;
	const char *event; /* 32 hex digits; NULL: none that programs would look for */
	const struct log_site *site;
	const struct log_scope *scope; /* the innermost, or NULL */
	const char *text;
	size_t len;
};

/* False: it could not be taken, and goes to stderr. Called by any thread; logs nothing itself. */
typedef bool (*log_sink_fn)(const struct log_record *r);
/* Before threads. */
void log_set_sink(log_sink_fn fn);
/* stderr leads to the journal itself (JOURNAL_STREAM). */
bool log_is_journal(void);

/* Thread-safe; never fails; keeps errno. A line over 2 KiB is cut. */
void log_at(const struct log_site *site, const char *event, int level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#define log_event(event, level, ...)                                                           \
	do {                                                                                   \
		static const struct log_site log_site_ = { __FILE__, __func__, __LINE__ };     \
		log_at(&log_site_, event, level, __VA_ARGS__);                                 \
	} while (0)
#define log_msg(level, ...) log_event(NULL, level, __VA_ARGS__)

#define log_err(...) log_msg(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_msg(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_msg(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_msg(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                \
	do {                                          \
		if (log_level() >= LOG_DEBUG)         \
			log_msg(LOG_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
