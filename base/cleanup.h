/* SPDX-License-Identifier: Apache-2.0 */
/* Scope cleanup and ownership transfer. */
#ifndef MIGD_BASE_CLEANUP_H
#define MIGD_BASE_CLEANUP_H

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Hand over a pointer or descriptor: the variable is left NULL or -1. */
#define TAKE_PTR(p)                    \
	({                             \
		__typeof__(p) *_pp = &(p); \
		__typeof__(p) _v = *_pp;   \
		*_pp = NULL;               \
		_v;                        \
	})

static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}
#define TAKE_FD(fd) take_fd(&(fd))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void cleanup_closedir(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static inline void cleanup_unlock(pthread_mutex_t **m)
{
	if (*m)
		(void)pthread_mutex_unlock(*m);
}

/* Close FD if it is one and return -1, for fd = close_fd(fd). errno is kept. */
int close_fd(int fd);

#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)
#define _cleanup_closedir_ _cleanup_(cleanup_closedir)

/* Hold M until the end of the enclosing scope. */
#define LOCK_SCOPE(m) LOCK_SCOPE_AT(m, __LINE__)
#define LOCK_SCOPE_AT(m, line) LOCK_SCOPE_NAMED(m, line)
#define LOCK_SCOPE_NAMED(m, line) \
	_cleanup_(cleanup_unlock) __attribute__((unused)) pthread_mutex_t *_lock_scope_##line = \
		lock_mutex(m)
static inline pthread_mutex_t *lock_mutex(pthread_mutex_t *m)
{
	(void)pthread_mutex_lock(m);
	return m;
}

/* Define cleanup_NAME_free for use with _cleanup_(): calls FUNC on a non-NULL TYPE pointer. */
#define DEFINE_CLEANUP(type, func)                   \
	static inline void cleanup_##func(type **p)  \
	{                                            \
		if (*p)                              \
			(void)func(*p);              \
	}                                            \
	struct _cleanup_semicolon_##func

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
