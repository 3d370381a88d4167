/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials' files. */
#include "daemon/cred-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

struct cred_file_stamp {
	char *path;
	bool exists;
	struct stat st;
};

void cred_files_done(struct cred_files *files)
{
	for (size_t i = 0; i < files->n; i++)
		free(files->stamps[i].path);
	free(files->stamps);
	*files = (struct cred_files){ 0 };
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       same_time(&a->st_mtim, &b->st_mtim) && same_time(&a->st_ctim, &b->st_ctim);
}

bool cred_files_changed(const struct cred_files *files)
{
	for (size_t i = 0; i < files->n; i++) {
		const struct cred_file_stamp *s = &files->stamps[i];
		struct stat st;
		bool exists = stat(s->path, &st) == 0;

		if (exists != s->exists || (exists && !same(&st, &s->st)))
			return true;
	}
	return false;
}

void cred_files_each_dir(const struct cred_files *files, void (*fn)(void *opaque, const char *dir), void *opaque)
{
	for (size_t i = 0; i < files->n; i++) {
		const char *path = files->stamps[i].path, *slash = strrchr(path, '/');
		_cleanup_free_ char *dir = strndup(path, slash > path ? (size_t)(slash - path) : 1);

		if (dir)
			fn(opaque, dir);
	}
}

/* "DIR/NAME", or NAME alone. NULL: out of memory. */
static struct cred_file_stamp *add_stamp(struct cred_files *files, const char *dir, const char *name)
{
	struct cred_file_stamp *s = reallocarray(files->stamps, files->n + 1, sizeof(*s));

	if (!s)
		return NULL;
	files->stamps = s;
	s += files->n;
	*s = (struct cred_file_stamp){ 0 };
	if (asprintf(&s->path, "%s%s%s", dir ? dir : "", dir ? "/" : "", name) < 0)
		return NULL;
	files->n++;
	return s;
}

bool cred_file_exists(struct cred_files *files, const char *dir, const char *name)
{
	struct cred_file_stamp *s = add_stamp(files, dir, name);

	if (s)
		s->exists = stat(s->path, &s->st) == 0;
	return s && s->exists;
}

static int check_mode(const struct stat *st, const char *path, enum cred_file_kind kind, struct merr *err)
{
	if (!S_ISREG(st->st_mode))
		return merr_set(err, -EINVAL, "'%s' is no regular file", path);
	if (st->st_size > CRED_FILE_MAX_BYTES)
		return merr_set(err, -EFBIG, "'%s' has %lld bytes, at most %d are read", path, (long long)st->st_size,
				CRED_FILE_MAX_BYTES);
	if (kind == CRED_FILE_SECRET && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return merr_set(err, -EPERM,
				"'%s' holds a secret and others than its owner may use it (mode %04o): chmod 600 '%s'", path,
				st->st_mode & 07777, path);
	return 0;
}

static int read_all(int fd, size_t len, const char *path, char **ret, struct merr *err)
{
	char *text = malloc(len + 1);
	int r = text ? fd_read_full(fd, text, len) : -ENOMEM;

	if (r < 0) {
		cred_file_free(text, text ? len : 0);
		return merr_set_errno(err, r, "cannot read '%s'", path);
	}
	text[len] = '\0';
	*ret = text;
	return 0;
}

int cred_file_read(struct cred_files *files, const char *dir, const char *name, enum cred_file_kind kind, char **ret,
		   size_t *ret_len, struct merr *err)
{
	struct cred_file_stamp *s = add_stamp(files, dir, name);
	const char *path = s ? s->path : NULL;
	_cleanup_close_ int fd = -1;
	int error, r;

	if (!s)
		return merr_set(err, -ENOMEM, "out of memory");
	/* O_NONBLOCK: a FIFO without its other end must not stop the daemon. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	error = fd < 0 ? errno : 0;
	s->exists = (fd >= 0 ? fstat(fd, &s->st) : stat(path, &s->st)) == 0;
	if (error == ENOENT)
		return merr_set(err, -ENOENT, "'%s' is missing", path);
	if (error)
		return merr_set_errno(err, -error, "cannot read '%s'", path);
	r = check_mode(&s->st, path, kind, err);
	if (r == 0)
		r = read_all(fd, (size_t)s->st.st_size, path, ret, err);
	if (r == 0)
		*ret_len = (size_t)s->st.st_size;
	return r;
}

void cred_file_free(char *text, size_t len)
{
	if (text)
		explicit_bzero(text, len);
	free(text);
}
