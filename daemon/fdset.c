/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of descriptors. */
#include "daemon/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define PATH_PREFIX "/dev/fdset/"

struct member {
	TAILQ_ENTRY(member) entry;
	int fd;
	char *opaque;
};

struct fdset {
	TAILQ_ENTRY(fdset) entry; /* the highest id first */
	int64_t id;
	TAILQ_HEAD(, member) members; /* the oldest first */
	size_t n;
};

struct fdsets {
	TAILQ_HEAD(, fdset) sets;
	size_t n_sets, n_fds;
};

struct fdsets *fdsets_new(void)
{
	struct fdsets *s = calloc(1, sizeof(*s));

	if (s)
		TAILQ_INIT(&s->sets);
	return s;
}

static struct fdset *find(const struct fdsets *s, int64_t id)
{
	struct fdset *set;

	TAILQ_FOREACH(set, &s->sets, entry)
	if (set->id == id)
		return set;
	return NULL;
}

static int64_t lowest_free_id(const struct fdsets *s)
{
	int64_t id = 0;

	while (find(s, id))
		id++;
	return id;
}

static void remove_member(struct fdsets *s, struct fdset *set, struct member *m)
{
	TAILQ_REMOVE(&set->members, m, entry);
	set->n--;
	s->n_fds--;
	(void)close_fd(m->fd);
	free(m->opaque);
	free(m);
}

static void remove_if_empty(struct fdsets *s, struct fdset *set)
{
	if (set->n > 0)
		return;
	TAILQ_REMOVE(&s->sets, set, entry);
	s->n_sets--;
	free(set);
}

struct fdsets *fdsets_free(struct fdsets *s)
{
	struct fdset *set;
	struct member *m;

	while (s && (set = TAILQ_FIRST(&s->sets))) {
		while ((m = TAILQ_FIRST(&set->members)))
			remove_member(s, set, m);
		remove_if_empty(s, set);
	}
	free(s);
	return NULL;
}

static struct fdset *find_or_make(struct fdsets *s, int64_t id)
{
	struct fdset *set = find(s, id), *lower;

	if (set)
		return set;
	set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	set->id = id;
	TAILQ_INIT(&set->members);
	TAILQ_FOREACH(lower, &s->sets, entry)
	if (lower->id < id)
		break;
	if (lower)
		TAILQ_INSERT_BEFORE(lower, set, entry);
	else
		TAILQ_INSERT_TAIL(&s->sets, set, entry);
	s->n_sets++;
	return set;
}

static int add_member(struct fdsets *s, struct fdset *set, int fd, const char *opaque)
{
	struct member *m = calloc(1, sizeof(*m));

	if (!m || (opaque && !(m->opaque = strdup(opaque)))) {
		free(m);
		return -ENOMEM;
	}
	m->fd = fd;
	TAILQ_INSERT_TAIL(&set->members, m, entry);
	set->n++;
	s->n_fds++;
	return 0;
}

int fdsets_add(struct fdsets *s, int64_t *id, int fd, const char *opaque, struct merr *err)
{
	int64_t wanted = *id >= 0 ? *id : lowest_free_id(s);
	struct fdset *set = NULL;
	int r = -ENOMEM;

	if (s->n_fds >= FDSETS_FDS_MAX) {
		(void)close_fd(fd);
		return merr_set(err, -E2BIG,
				"There are %u descriptors in sets already; use remove-fd first",
				FDSETS_FDS_MAX);
	}
	set = find_or_make(s, wanted);
	if (set)
		r = add_member(s, set, fd, opaque);
	if (r < 0) {
		(void)close_fd(fd);
		if (set)
			remove_if_empty(s, set);
		return merr_set(err, r, "out of memory");
	}
	*id = wanted;
	return 0;
}

int fdsets_remove(struct fdsets *s, int64_t id, int64_t fd, struct merr *err)
{
	struct fdset *set = find(s, id);
	struct member *m, *next;
	bool removed = false;

	for (m = set ? TAILQ_FIRST(&set->members) : NULL; m; m = next) {
		next = TAILQ_NEXT(m, entry);
		if (fd >= 0 && m->fd != fd)
			continue;
		remove_member(s, set, m);
		removed = true;
	}
	if (!removed && fd < 0)
		return merr_set(err, -ENOENT,
				"File descriptor named 'fdset-id:%" PRId64 "' not found", id);
	if (!removed)
		return merr_set(err, -ENOENT,
				"File descriptor named 'fdset-id:%" PRId64 ", fd:%" PRId64
				"' not found",
				id, fd);
	remove_if_empty(s, set);
	return 0;
}

static int describe_set(const struct fdset *set, struct fdset_info *ret)
{
	const struct member *m;

	ret->fdset_id = set->id;
	ret->fds = calloc(set->n, sizeof(*ret->fds));
	if (!ret->fds)
		return -ENOMEM;
	TAILQ_FOREACH(m, &set->members, entry)
	{
		struct fdset_fd_info *info = &ret->fds[ret->n_fds++];

		info->fd = m->fd;
		info->has_opaque = m->opaque != NULL;
		info->opaque = m->opaque ? strdup(m->opaque) : NULL;
		if (m->opaque && !info->opaque)
			return -ENOMEM;
	}
	return 0;
}

int fdsets_describe(const struct fdsets *s, struct fdset_info **ret, size_t *ret_n)
{
	struct fdset_info *list = calloc(s->n_sets + 1, sizeof(*list));
	const struct fdset *set;
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	TAILQ_FOREACH(set, &s->sets, entry)
	{
		if (describe_set(set, &list[n++]) == 0)
			continue;
		while (n > 0)
			fdset_info_done(&list[--n]);
		free(list);
		return -ENOMEM;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

bool fdsets_is_path(const char *path, int64_t *ret_id)
{
	const char *digits = path + strlen(PATH_PREFIX);

	if (strncmp(path, PATH_PREFIX, strlen(PATH_PREFIX)) != 0 || !digits[0] ||
	    strlen(digits) > 18 || digits[strspn(digits, "0123456789")])
		return false;
	*ret_id = strtoll(digits, NULL, 10);
	return true;
}

static const char *mode_name(int access_mode)
{
	return access_mode == O_WRONLY ? "writing alone (O_WRONLY)"
	       : access_mode == O_RDWR ? "reading and writing (O_RDWR)"
				       : "reading alone (O_RDONLY)";
}

int fdsets_open(const struct fdsets *s, int64_t id, int flags, int *ret_fd, struct merr *err)
{
	const struct fdset *set = find(s, id);
	const struct member *m;

	if (!set)
		return merr_set(err, -ENOENT,
				"There is no set %" PRId64 " of descriptors; use add-fd", id);
	TAILQ_FOREACH(m, &set->members, entry)
	{
		int has = fcntl(m->fd, F_GETFL);

		if (has < 0 || (has & (O_ACCMODE | O_DIRECT)) != flags)
			continue;
		*ret_fd = fd_dup(m->fd);
		return *ret_fd < 0
			       ? merr_set_errno(err, *ret_fd, "'" PATH_PREFIX "%" PRId64 "'", id)
			       : 0;
	}
	return merr_set(err, -EACCES,
			"No descriptor of set %" PRId64 " was opened for %s, %s O_DIRECT; add one with "
			"add-fd", id, mode_name(flags & O_ACCMODE), flags & O_DIRECT ? "with" : "without");
}

int fdsets_dup(const struct fdsets *s, int64_t fd)
{
	const struct fdset *set;
	const struct member *m;

	TAILQ_FOREACH(set, &s->sets, entry)
	TAILQ_FOREACH(m, &set->members, entry)
	if (m->fd == fd)
		return fd_dup(m->fd);
	return -ENOENT;
}
