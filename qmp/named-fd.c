/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors with names. */
#include "qmp/named-fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "qmp/limits.h"

struct named_fd {
	TAILQ_ENTRY(named_fd) entry;
	char *name;
	int fd;
};

static struct named_fd *find(const struct named_fds *f, const char *name)
{
	struct named_fd *n;

	TAILQ_FOREACH(n, &f->list, entry)
	if (strcmp(n->name, name) == 0)
		return n;
	return NULL;
}

static void remove_one(struct named_fds *f, struct named_fd *n)
{
	TAILQ_REMOVE(&f->list, n, entry);
	f->n--;
	(void)close_fd(n->fd);
	free(n->name);
	free(n);
}

int named_fds_add(struct named_fds *f, const char *name, int fd, struct merr *err)
{
	struct named_fd *n = find(f, name);

	if (n) {
		(void)close_fd(n->fd);
		n->fd = fd;
		return 0;
	}
	if (f->n == QMP_MAX_NAMED_FDS) {
		(void)close_fd(fd);
		return merr_set(err, -E2BIG,
				"This session has %u named descriptors already; use closefd first",
				QMP_MAX_NAMED_FDS);
	}
	n = calloc(1, sizeof(*n));
	if (n)
		n->name = strdup(name);
	if (!n || !n->name) {
		free(n);
		(void)close_fd(fd);
		return merr_set(err, -ENOMEM, "out of memory");
	}
	n->fd = fd;
	TAILQ_INSERT_TAIL(&f->list, n, entry);
	f->n++;
	return 0;
}

int named_fds_take(struct named_fds *f, const char *name)
{
	struct named_fd *n = find(f, name);
	int fd;

	if (!n)
		return -ENOENT;
	fd = TAKE_FD(n->fd);
	remove_one(f, n);
	return fd;
}

void named_fds_done(struct named_fds *f)
{
	struct named_fd *n;

	while ((n = TAILQ_FIRST(&f->list)))
		remove_one(f, n);
}
