/* SPDX-License-Identifier: Apache-2.0 */
/* The control plane: its QMP server, and the sockets of the whole host. */
#include "daemon/control-plane.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/access.h"
#include "daemon/audit.h"
#include "daemon/daemon.h"
#include "daemon/guest-socket.h"
#include "daemon/listen.h"
#include "daemon/passed.h"
#include "daemon/version.h"

/* Descriptors that guests, migrations and the daemon itself want besides the clients'. */
#define OTHER_DESCRIPTORS 1024U

/* The sockets that were made here, and are to be removed; NULL: none. */
struct control_plane {
	char *path, *read_only_path;
};

static struct qmp_server_limits limits_of(const struct config_qmp *c)
{
	return (struct qmp_server_limits){
		.sessions = c->max_clients,
		.message_bytes = (uint32_t)c->max_message_size,
		.nesting = c->max_nesting,
		.rate = c->max_rate,
	};
}

/* A client without a descriptor for it is one that is not accepted; a migration without one is one that fails. */
static void check_descriptors(const struct daemon *d)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < d->config.qmp.max_clients + OTHER_DESCRIPTORS)
		log_warning("migd may have %" PRIuMAX " descriptors, and [qmp] max-clients is %" PRIu32 ": raise LimitNOFILE= of its "
			    "unit, or clients may keep migrations from having theirs",
			    (uintmax_t)limit.rlim_cur, d->config.qmp.max_clients);
}

static void on_answered(void *opaque, const struct qmp_answered *a)
{
	enum metrics_answer answer = a->refused ? METRICS_REFUSED : a->error ? METRICS_ERROR : METRICS_RETURNED;

	/* The outer one is counted. */
	if (!a->inner)
		metrics_command(opaque, a->command ? a->command->access : QMP_ACCESS__MAX, answer);
	audit_answered(opaque, a);
}

int plane_start(struct daemon *d, struct merr *err)
{
	const struct qmp_server_options o = {
		.base = d->base,
		.commands = qmp_commands,
		.major = MIGD_VERSION_MAJOR,
		.minor = MIGD_VERSION_MINOR,
		.micro = MIGD_VERSION_MICRO,
		.package = "migd-" MIGD_VERSION,
		.limits = limits_of(&d->config.qmp),
		.opaque = d,
		.rights = access_rights,
		.refuse = access_refuse,
		.answered = on_answered,
	};

	d->plane = calloc(1, sizeof(*d->plane));
	d->qmp = d->plane ? qmp_server_new(&o) : NULL;
	check_descriptors(d);
	return d->qmp ? 0 : merr_set(err, -ENOMEM, "out of memory");
}

void plane_set_limits(struct daemon *d)
{
	const struct qmp_server_limits l = limits_of(&d->config.qmp);

	qmp_server_set_limits(d->qmp, &l);
	check_descriptors(d);
}

/* The socket passed as NAME, or else one at PATH ("": none), of which *RET_PATH is a copy then. *RET_FD is -1: there is none. */
static int claim_or_make(struct daemon *d, const char *name, const char *path, int *ret_fd, char **ret_path, struct merr *err)
{
	int r = passed_claim_socket(d->passed, name, SOCK_STREAM, ret_fd, err);

	if (r < 0 || *ret_fd >= 0 || !path[0])
		return r;
	r = listen_unix(path, SOCK_STREAM, d->config.qmp.socket_mode, d->config.qmp.socket_group, ret_fd, err);
	if (r < 0)
		return r;
	*ret_path = strdup(path);
	if (*ret_path)
		return 0;
	(void)unlink(path);
	*ret_fd = close_fd(*ret_fd);
	return merr_set(err, -ENOMEM, "out of memory");
}

int plane_open(struct daemon *d, struct merr *err)
{
	const struct config_qmp *c = &d->config.qmp;
	int fd = -1, r;

	r = claim_or_make(d, "qmp-read-only", c->read_only_socket, &fd, &d->plane->read_only_path, err);
	if (r == 0 && fd >= 0)
		r = qmp_server_listen_read_only(d->qmp, fd, err);
	if (r == 0)
		r = guest_sockets_prepare(d, err);
	if (r == 0)
		r = claim_or_make(d, "qmp", c->socket, &fd, &d->plane->path, err);
	return r < 0 ? r : qmp_server_listen(d->qmp, fd, NULL, err);
}

static void remove_socket(char *path)
{
	if (path)
		(void)unlink(path);
	free(path);
}

void plane_stop(struct daemon *d)
{
	d->qmp = qmp_server_free(d->qmp);
	if (!d->plane)
		return;
	remove_socket(d->plane->path);
	remove_socket(d->plane->read_only_path);
	free(d->plane);
	d->plane = NULL;
}
