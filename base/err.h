/* SPDX-License-Identifier: Apache-2.0 */
/* The error that a person or a peer will read: code, class, message. */
#ifndef MIGD_BASE_ERR_H
#define MIGD_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

/* Longest message kept, terminating NUL included; a longer one is cut at the end. */
#define MERR_MSG_MAX 1024

/* What kind of failure it is. qmp/ maps these to QMP's error classes; nobody else does. */
enum merr_class {
	MERR_NONE = 0,	/* no error is set */
	MERR_GENERIC,
	MERR_COMMAND_NOT_FOUND,
	MERR_DEVICE_NOT_ACTIVE,
	MERR_DEVICE_NOT_FOUND,
	MERR_KVM_MISSING_CAP,
};

/*
 * An error. Zero-initialise it (MERR_INIT); whoever detects a failure sets it once, callers may
 * put what they know in front. Owns nothing: no free function.
 */
struct merr {
	int code;		/* negative errno */
	enum merr_class class;
	char msg[MERR_MSG_MAX];
};

#define MERR_INIT { 0 }

/*
 * Record CODE (a negative errno) and a message in ERR and return CODE. ERR may be NULL. The first
 * error wins: if ERR holds one already, it is kept and CODE is returned all the same.
 */
int merr_set(struct merr *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int merr_setv(struct merr *err, int code, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

/* As merr_set(), for a class other than MERR_GENERIC. */
int merr_set_class(struct merr *err, enum merr_class class, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* As merr_set(), with ": " and the text of CODE's errno appended. */
int merr_set_errno(struct merr *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "PREFIX: " in front of ERR's message; returns ERR's code. Nothing happens without an error. */
int merr_prefix(struct merr *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Copy SRC to DST (either may be NULL) unless DST already holds an error; returns SRC's code. */
int merr_copy(struct merr *dst, const struct merr *src);

static inline bool merr_is_set(const struct merr *err)
{
	return err && err->class != MERR_NONE;
}

/* The message, or "unknown error" when none was recorded. Never NULL; owned by ERR. */
const char *merr_msg(const struct merr *err);

/* Forget the error, so that ERR can be used again. */
void merr_clear(struct merr *err);

/*
 * Static analyzers look at one file at a time and would follow a failure on as a success: they are told here that these
 * return the code they got, a negative one. MIGD_ANALYZED: gcc's (the preset "analyze"), cppcheck.
 */
#if defined(__clang_analyzer__) || defined(MIGD_ANALYZED)
/* No function: they look into those only so deep. */
#define merr_negative(code)                            \
	({                                             \
		int _code = (code);                    \
		_code < 0 ? _code : -1;                \
	})
#define merr_set(err, code, ...) (merr_set(err, code, __VA_ARGS__), merr_negative(code))
#define merr_set_class(err, class, code, ...) \
	(merr_set_class(err, class, code, __VA_ARGS__), merr_negative(code))
#define merr_set_errno(err, code, ...) (merr_set_errno(err, code, __VA_ARGS__), merr_negative(code))
#endif

#endif
