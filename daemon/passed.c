/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that the service manager passed. */
#include "daemon/passed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/fdstore.h"

struct passed {
	size_t n;
	char **names; /* N of them, ended by NULL */
	bool *claimed;
};

/* The first one's number is SD_LISTEN_FDS_START. */
static int number(size_t i)
{
	return SD_LISTEN_FDS_START + (int)i;
}

int passed_new(struct passed **ret, struct merr *err)
{
	struct passed *p = calloc(1, sizeof(*p));
	int n;

	if (!p)
		return merr_set(err, -ENOMEM, "out of memory");
	n = sd_listen_fds_with_names(1, &p->names);
	p->n = n > 0 ? (size_t)n : 0;
	p->claimed = calloc(p->n + 1, sizeof(*p->claimed));
	if (n >= 0 && p->claimed) {
		*ret = p;
		return 0;
	}
	p->n = 0;
	(void)passed_free(p);
	return merr_set_errno(err, n < 0 ? n : -ENOMEM, "the descriptors that the service manager passes (LISTEN_FDS)");
}

struct passed *passed_free(struct passed *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->n; i++)
		if (!p->claimed[i]) {
			log_notice("closing a descriptor that the service manager passed, for it is of no use name='%s'",
				   p->names[i]);
			close_fd(number(i));
			fdstore_forget(p->names[i]);
		}
	for (size_t i = 0; p->names && p->names[i]; i++)
		free(p->names[i]);
	free(p->names);
	free(p->claimed);
	free(p);
	return NULL;
}

int passed_claim(struct passed *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (!p->claimed[i] && strcmp(p->names[i], name) == 0) {
			p->claimed[i] = true;
			return number(i);
		}
	return -ENOENT;
}

int passed_claim_socket(struct passed *p, const char *name, int type, int *ret_fd, struct merr *err)
{
	_cleanup_close_ int fd = passed_claim(p, name);

	*ret_fd = -1;
	if (fd < 0)
		return 0;
	if (sd_is_socket_unix(fd, type, 1, NULL, 0) <= 0)
		return merr_set(err, -EINVAL,
				"the descriptor '%s' that the service manager passed is no Unix socket that listens: its unit "
				"needs %s=",
				name, type == SOCK_STREAM ? "ListenStream" : "ListenSequentialPacket");
	*ret_fd = TAKE_FD(fd);
	return fd_set_nonblock(*ret_fd, true);
}
