/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of descriptors that clients passed, opened as /dev/fdset/ID (QMP.md 2.6). */
#ifndef MIGD_DAEMON_FDSET_H
#define MIGD_DAEMON_FDSET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/types.h"

/* What clients can make the daemon hold. */
#define FDSETS_FDS_MAX 256U

struct fdsets;

struct fdsets *fdsets_new(void);
struct fdsets *fdsets_free(struct fdsets *s);

/*
 * Add FD (taken over, also on failure) to set *ID, or, if *ID is negative, to a new one whose
 * number is stored there. OPAQUE may be NULL. -E2BIG, -ENOMEM.
 */
int fdsets_add(struct fdsets *s, int64_t *id, int fd, const char *opaque, struct merr *err);

/* Close FD of set ID, or, if FD is negative, all of them. -ENOENT. */
int fdsets_remove(struct fdsets *s, int64_t id, int64_t fd, struct merr *err);

/* The list for query-fdsets; *RET (N of them) is freed with fdset_info_done() each, and free(). */
int fdsets_describe(const struct fdsets *s, struct fdset_info **ret, size_t *ret_n);

/* True if PATH is /dev/fdset/ID. */
bool fdsets_is_path(const char *path, int64_t *ret_id);

/*
 * A duplicate of set ID's oldest descriptor that was opened so: FLAGS is O_RDONLY, O_WRONLY or O_RDWR, with O_DIRECT or
 * without. -ENOENT.
 */
int fdsets_open(const struct fdsets *s, int64_t id, int flags, int *ret_fd, struct merr *err);

/* A duplicate of the descriptor FD, if it is in a set; else -ENOENT. */
int fdsets_dup(const struct fdsets *s, int64_t fd);

#endif
