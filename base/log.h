/* SPDX-License-Identifier: Apache-2.0 */
/* Logging: one event, one line, syslog levels, key=value after the sentence. */
#ifndef MIGD_BASE_LOG_H
#define MIGD_BASE_LOG_H

#include <stdbool.h>
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

/* Thread-safe; never fails; keeps errno. A line over 2 KiB is cut. */
void log_msg(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

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
