/* SPDX-License-Identifier: Apache-2.0 */
/* QMP sockets of one guest each. */
#include "daemon/guest-socket.h"

#include <dirent.h>
#include <errno.h>
#include <migd/guest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/listen.h"
#include "daemon/scope.h"
#include "qmp/server.h"
#include "schema/commands.h"

#define SUFFIX ".qmp"
/* Of one guest. */
#define SOCKETS_MAX 16U
/* A name with each of its bytes escaped, its folder, and NUL. */
#define PATH_MAX_BYTES 1024

struct guest_socket {
	TAILQ_ENTRY(guest_socket) entry;
	int fd;		/* the server's */
	char path[];
};

/* ---- names ---- */

static bool is_plain(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
	       (c == '.' && !first);
}

/* A guest may have any name; in a file's, what is not plain is %XX. */
static void format_path(const char *dir, const char *guest, char ret[PATH_MAX_BYTES])
{
	size_t n = (size_t)snprintf(ret, PATH_MAX_BYTES / 2, "%s/", dir);

	n = n < PATH_MAX_BYTES / 2 ? n : PATH_MAX_BYTES / 2 - 1;
	for (size_t i = 0; guest[i] && n + sizeof("%XX" SUFFIX) <= PATH_MAX_BYTES; i++) {
		if (is_plain(guest[i], i == 0))
			ret[n++] = guest[i];
		else
			n += (size_t)snprintf(ret + n, PATH_MAX_BYTES - n, "%%%02X", (unsigned char)guest[i]);
	}
	(void)snprintf(ret + n, PATH_MAX_BYTES - n, "%s", SUFFIX);
}

static struct guest_socket *find(const struct guest *g, const char *path)
{
	struct guest_socket *s;

	TAILQ_FOREACH(s, &g->sockets, entry)
		if (strcmp(s->path, path) == 0)
			return s;
	return NULL;
}

/* ---- opening and closing ---- */

static int open_at(struct guest *g, const char *path, struct merr *err)
{
	const struct config_qmp *c = &g->daemon->config.qmp;
	struct guest_socket *s = malloc(sizeof(*s) + strlen(path) + 1);
	int r = s ? 0 : merr_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = listen_unix(path, SOCK_STREAM, c->socket_mode, c->socket_group, &s->fd, err);
	if (r < 0) {
		free(s);
		return r;
	}
	memcpy(s->path, path, strlen(path) + 1);
	r = qmp_server_listen(g->daemon->qmp, s->fd, g->name, err);
	if (r < 0) {
		(void)unlink(path);
		free(s);
		return r;
	}
	TAILQ_INSERT_TAIL(&g->sockets, s, entry);
	g->n_sockets++;
	return 0;
}

/* Its listening socket is closed already, or is by the caller. */
static void forget(struct guest *g, struct guest_socket *s)
{
	(void)unlink(s->path);
	TAILQ_REMOVE(&g->sockets, s, entry);
	g->n_sockets--;
	free(s);
}

void guest_sockets_open(struct guest *g)
{
	const char *dir = g->daemon->config.qmp.guest_sockets;
	char path[PATH_MAX_BYTES];
	struct merr err = MERR_INIT;

	if (!dir[0])
		return;
	format_path(dir, g->name, path);
	if (!find(g, path) && open_at(g, path, &err) < 0)
		log_warning("guest has no QMP socket of its own: %s guest='%s'", merr_msg(&err), g->name);
}

void guest_sockets_hang_up(struct guest *g)
{
	if (!TAILQ_EMPTY(&g->sockets) && g->run_state != MIGD_GUEST_RS_POSTMIGRATE && g->run_state != MIGD_GUEST_RS_DISCARDED)
		qmp_server_close_sessions(g->daemon->qmp, g->name);
}

void guest_sockets_close(struct guest *g)
{
	struct guest_socket *s;

	if (TAILQ_EMPTY(&g->sockets))
		return;
	qmp_server_close_guest(g->daemon->qmp, g->name);
	while ((s = TAILQ_FIRST(&g->sockets)))
		forget(g, s);
}

/* ---- at the start ---- */

static void remove_stale(const char *dir, const char *name)
{
	size_t len = strlen(name), suffix = strlen(SUFFIX);
	char path[PATH_MAX_BYTES];

	if (len <= suffix || strcmp(name + len - suffix, SUFFIX) != 0 ||
	    snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return;
	if (listen_remove_stale(path, SOCK_STREAM) == -EADDRINUSE)
		log_warning("somebody listens on '%s', where a guest's socket may be wanted", path);
}

int guest_sockets_prepare(struct daemon *d, struct merr *err)
{
	const char *path = d->config.qmp.guest_sockets;
	const struct dirent *e;
	_cleanup_closedir_ DIR *dir = NULL;

	if (!path[0])
		return 0;
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return merr_set_errno(err, -errno, "cannot make the directory of guests' sockets '%s' ([qmp] guest-sockets)", path);
	dir = opendir(path);
	if (!dir)
		return merr_set_errno(err, -errno, "cannot open the directory of guests' sockets '%s' ([qmp] guest-sockets)", path);
	while ((e = readdir(dir)))
		remove_stale(path, e->d_name);
	return 0;
}

/* ---- commands ---- */

static int check_open(const struct qmp_call *call, const struct guest *g, const char *path, struct merr *err)
{
	int r = qmp_call_may(call, QMP_ACCESS_PRIVILEGED, err);

	if (r < 0)
		return merr_prefix(err, "A socket is made by its name");
	if (path[0] != '/')
		return merr_set(err, -EINVAL, "Parameter 'path' expects an absolute path");
	if (find(g, path))
		return merr_set(err, -EEXIST, "Guest '%s' has its socket '%s' already", g->name, path);
	if (g->n_sockets >= SOCKETS_MAX)
		return merr_set(err, -E2BIG, "Guest '%s' has %u sockets already; close one by guest-close-qmp", g->name,
				SOCKETS_MAX);
	return 0;
}

void cmd_guest_open_qmp(struct qmp_call *call, const struct guest_open_qmp_args *args)
{
	struct guest *g = scope_guest(call, true, args->guest);
	struct merr err = MERR_INIT;

	if (!g)
		return;
	if (check_open(call, g, args->path, &err) < 0 || open_at(g, args->path, &err) < 0)
		qmp_fail(call, &err);
	else
		qmp_return(call, NULL);
}

void cmd_guest_close_qmp(struct qmp_call *call, const struct guest_close_qmp_args *args)
{
	struct guest *g = scope_guest(call, true, args->guest);
	struct merr err = MERR_INIT;
	struct guest_socket *s;

	if (!g)
		return;
	s = find(g, args->path);
	if (!s) {
		(void)merr_set(&err, -ENOENT, "Guest '%s' has no socket '%.300s'", g->name, args->path);
		qmp_fail(call, &err);
		return;
	}
	qmp_server_unlisten(g->daemon->qmp, s->fd);
	forget(g, s);
	qmp_return(call, NULL);
}
