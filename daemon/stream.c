/* SPDX-License-Identifier: Apache-2.0 */
/* Opening descriptors, commands and files. */
#include "daemon/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/command.h"
#include "daemon/daemon.h"
#include "daemon/fdset.h"
#include "daemon/guest.h"
#include "daemon/journal.h"
#include "daemon/migration.h"
#include "daemon/publication.h"
#include "qmp/server.h"

#define FILE_MODE 0600

static bool is_outgoing(const struct migration *m)
{
	return m->direction == WORKER_DIRECTION_OUTGOING;
}

/* ---- descriptors ---- */

static int socket_option(int fd, int option)
{
	socklen_t len = sizeof(int);
	int value = 0;

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -errno : value;
}

static int check_socket(int fd, bool outgoing, const char *name, struct merr *err)
{
	if (socket_option(fd, SO_TYPE) != SOCK_STREAM)
		return merr_set(err, -EPROTOTYPE,
				"Descriptor '%s' is a socket, but no stream socket", name);
	if (outgoing && socket_option(fd, SO_ACCEPTCONN) == 1)
		return merr_set(err, -EINVAL,
				"Descriptor '%s' is a listening socket; pass a connected one",
				name);
	return 0;
}

static int check_access(int fd, bool outgoing, const char *name, struct merr *err)
{
	int flags = fcntl(fd, F_GETFL), unfit = outgoing ? O_RDONLY : O_WRONLY;

	if (flags < 0)
		return merr_set_errno(err, -errno, "descriptor '%s'", name);
	if ((flags & O_ACCMODE) == unfit)
		return merr_set(err, -EBADF, "Descriptor '%s' was opened for %s alone", name,
				outgoing ? "reading" : "writing");
	return 0;
}

static int find_fd(const struct migration *m, const char *name, struct qmp_call *call)
{
	/* A number is one that add-fd returned: no other of this process's is a client's to use. */
	if (!is_outgoing(m) && name[0] >= '0' && name[0] <= '9')
		return fdsets_dup(m->guest->daemon->fdsets, strtoll(name, NULL, 10));
	return qmp_call_take_named_fd(call, name);
}

static int take_named(const struct migration *m, const char *name, struct qmp_call *call, int *ret_fd,
		      bool *ret_is_socket, struct merr *err)
{
	_cleanup_close_ int fd = find_fd(m, name, call);
	struct stat st;
	int r;

	if (fd < 0)
		return merr_set(err, -ENOENT,
				"File descriptor named '%s' not found in this session; use getfd",
				name);
	if (fstat(fd, &st) < 0)
		return merr_set_errno(err, -errno, "descriptor '%s'", name);
	*ret_is_socket = S_ISSOCK(st.st_mode);
	r = *ret_is_socket ? check_socket(fd, is_outgoing(m), name, err)
			   : check_access(fd, is_outgoing(m), name, err);
	/* The worker accepts until nobody is there any more. */
	if (r == 0 && *ret_is_socket && socket_option(fd, SO_ACCEPTCONN) == 1 && (r = fd_set_nonblock(fd, true)) < 0)
		r = merr_set_errno(err, r, "descriptor '%s'", name);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

static int open_fd(struct migration *m, struct qmp_call *call, struct merr *err)
{
	int fd = -1, r = take_named(m, m->addr.text, call, &fd, &m->return_path, err);

	if (r < 0)
		return r;
	if (m->return_path && socket_option(fd, SO_ACCEPTCONN) == 1)
		m->listen_fd = fd;
	else
		m->stream_fd = fd;
	return 0;
}

int stream_take_socket(const struct migration *m, const char *name, struct qmp_call *call, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = -1;
	bool is_socket;
	int r = take_named(m, name, call, &fd, &is_socket, err);

	if (r < 0)
		return r;
	if (!is_socket)
		return merr_set(err, -ENOTSOCK, "Descriptor '%s' is no socket: answers have to come back the same way", name);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- commands ---- */

static int open_command(struct migration *m, struct merr *err)
{
	struct daemon *d = m->guest->daemon;
	_cleanup_close_ int fd = -1;
	struct command *c;
	int r;

	r = command_spawn(d->base, &m->addr, is_outgoing(m), &fd, &c, err);
	if (r < 0)
		return r;
	m->publication = publication_of_command(d->base, c);
	if (!m->publication)
		return merr_set(err, -ENOMEM, "out of memory");
	m->publishes = is_outgoing(m);
	m->stream_fd = TAKE_FD(fd);
	return 0;
}

/* ---- files ---- */

static int access_mode(const struct migration *m)
{
	return is_outgoing(m) ? O_WRONLY : O_RDONLY;
}

static int seek(struct migration *m, int fd, struct merr *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return merr_set_errno(err, -errno, "'%s'", m->addr.text);
	if (S_ISDIR(st.st_mode))
		return merr_set_errno(err, -EISDIR, "'%s'", m->addr.text);
	if (!S_ISREG(st.st_mode) && !m->addr.offset)
		return 0;
	if (is_outgoing(m) && S_ISREG(st.st_mode) && ftruncate(fd, (off_t)m->addr.offset) < 0)
		return merr_set_errno(err, -errno, "Failed to truncate '%s'", m->addr.text);
	if (lseek(fd, (off_t)m->addr.offset, SEEK_SET) < 0)
		return merr_set_errno(err, -errno, "Failed to seek in '%s'", m->addr.text);
	return 0;
}

static int open_in_place(struct migration *m, int *ret_fd, struct merr *err)
{
	int flags = access_mode(m) | (is_outgoing(m) ? O_CREAT : 0);
	int64_t set;

	if (fdsets_is_path(m->addr.text, &set))
		return fdsets_open(m->guest->daemon->fdsets, set, access_mode(m), ret_fd, err);
	/* O_NONBLOCK: a FIFO without its other end must not stop the daemon. */
	*ret_fd = open(m->addr.text, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, FILE_MODE);
	return *ret_fd < 0 ? merr_set_errno(err, -errno, "Failed to open '%s'", m->addr.text) : 0;
}

/* ---- mapped-ram ---- */

static bool has(const struct migration *m, enum migration_capability c)
{
	return m->guest->capabilities[c];
}

static int check_is_file(const struct migration *m, int fd, struct merr *err)
{
	struct stat st;

	if (!has(m, MIGRATION_CAPABILITY_MAPPED_RAM))
		return 0;
	if (fstat(fd, &st) < 0)
		return merr_set_errno(err, -errno, "'%s'", m->addr.text);
	if (S_ISREG(st.st_mode))
		return 0;
	return merr_set(err, -EINVAL, "Capability 'mapped-ram' needs a regular file, and '%s' is none",
			m->addr.text);
}

/* Once more the file of FD, whatever its name is by now. */
static int reopen_direct(const struct migration *m, int fd, int *ret_fd, struct merr *err)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*ret_fd = open(path, access_mode(m) | O_DIRECT | O_CLOEXEC | O_NOCTTY);
	if (*ret_fd < 0 && errno == EINVAL)
		return merr_set(err, -EINVAL,
				"The file system of '%s' has no direct I/O (O_DIRECT): turn parameter 'direct-io' off",
				m->addr.text);
	return *ret_fd < 0 ? merr_set_errno(err, -errno, "Failed to open '%s' for direct I/O", m->addr.text) : 0;
}

static int check_same_file(const struct migration *m, int a, int b, struct merr *err)
{
	struct stat first, second;

	if (fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
	    first.st_ino == second.st_ino)
		return 0;
	return merr_set(err, -EINVAL, "The descriptors of '%s' with and without O_DIRECT are not of the same file",
			m->addr.text);
}

/* Only where each page has its place, and there are several channels. */
static bool must_be_direct(const struct migration *m)
{
	return m->guest->parameters.direct_io && has(m, MIGRATION_CAPABILITY_MAPPED_RAM) &&
	       has(m, MIGRATION_CAPABILITY_MULTIFD);
}

/* A second descriptor, for pages alone: because of parameter direct-io, or to read them faster. */
static int open_direct(const struct migration *m, int fd, int *ret_fd, struct merr *err)
{
	int64_t set;
	bool in_set = fdsets_is_path(m->addr.text, &set);
	int r;

	if (!must_be_direct(m)) {
		if (!is_outgoing(m) && !in_set && has(m, MIGRATION_CAPABILITY_MAPPED_RAM))
			(void)reopen_direct(m, fd, ret_fd, NULL);
		return 0;
	}
	if (!in_set)
		return reopen_direct(m, fd, ret_fd, err);
	r = fdsets_open(m->guest->daemon->fdsets, set, access_mode(m) | O_DIRECT, ret_fd, err);
	return r < 0 ? r : check_same_file(m, fd, *ret_fd, err);
}

/* ---- opening files ---- */

/* A new file, or one that would be replaced from its first byte on. */
static bool is_replaced(const struct migration *m)
{
	struct stat st;
	int64_t set;

	return is_outgoing(m) && m->addr.offset == 0 && !fdsets_is_path(m->addr.text, &set) &&
	       (stat(m->addr.text, &st) < 0 || S_ISREG(st.st_mode));
}

static int open_file(struct migration *m, struct merr *err)
{
	_cleanup_close_ int fd = -1, direct_fd = -1;
	int r;

	if (is_replaced(m)) {
		/* Before the file is there: a daemon that comes after this one has to know of it, and removes it. */
		r = journal_write(m, err);
		if (r == 0)
			r = publication_of_file(m->guest->daemon->base, m->addr.text, m->id, &m->publication, &fd, err);
		m->publishes = r == 0;
	} else {
		r = open_in_place(m, &fd, err);
	}
	if (r == 0)
		r = check_is_file(m, fd, err);
	if (r == 0)
		r = open_direct(m, fd, &direct_fd, err);
	/* What is there is cut off last. */
	if (r == 0 && !m->publishes)
		r = seek(m, fd, err);
	if (r < 0)
		return r;
	m->stream_fd = TAKE_FD(fd);
	m->direct_fd = TAKE_FD(direct_fd);
	return 0;
}

int stream_open(struct migration *m, struct qmp_call *call, struct merr *err)
{
	m->return_path = false;
	switch (m->addr.type) {
	case ADDR_FD:
		return open_fd(m, call, err);
	case ADDR_EXEC:
		return open_command(m, err);
	case ADDR_FILE:
		return open_file(m, err);
	default:
		return merr_set(err, -EINVAL, "'%s' is a network address", m->uri);
	}
}
