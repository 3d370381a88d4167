/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that a session's client gave names to (getfd). */
#ifndef MIGD_QMP_NAMED_FD_H
#define MIGD_QMP_NAMED_FD_H

#include <stddef.h>
#include <sys/queue.h>

#include "base/err.h"

struct named_fd;

/* TAILQ_INIT() the list. */
struct named_fds {
	TAILQ_HEAD(named_fd_list, named_fd) list;
	size_t n;
};

/* FD is taken over, also on failure; one of that name before is closed. -E2BIG, -ENOMEM. */
int named_fds_add(struct named_fds *f, const char *name, int fd, struct merr *err);
/* The caller's from here on; the name is forgotten. -ENOENT. */
int named_fds_take(struct named_fds *f, const char *name);
void named_fds_done(struct named_fds *f);

#endif
